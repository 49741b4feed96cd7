"""The step of `acl-tf pretrain`, on random images. TensorFlow must be started before this module is imported."""

from collections.abc import Callable

import numpy as np
from step_case import IMAGE_SHAPE

from acl_tf.horizon import Horizon
from acl_tf.pretrain.config import PretrainConfig
from acl_tf.pretrain.objective import Objective
from acl_tf.pretrain.run import build_objective, build_optimizer
from acl_tf.training.numerics import set_numerics
from acl_tf.training.steps import Steps
from acl_tf.training.workers import Workers

STEPS_PER_EPOCH = 100  # for the learning rate's schedule


def build_step(config: PretrainConfig, workers: Workers) -> tuple[Callable[[], float], Objective]:
    """Builds the function that the training loop calls: it takes `steps_per_call` steps and returns when they are done.

    Args:
        config: Configuration of the run.
        workers: Workers that share each batch.

    Returns:
        The function, which returns the loss, and the objective.
    """
    set_numerics(config.training)
    horizon = Horizon.uniform(config.training.epochs, STEPS_PER_EPOCH)
    with workers.strategy.scope():
        objective = build_objective(config, IMAGE_SHAPE, horizon)
        objective.compile(optimizer=build_optimizer(config.optimizer, horizon))
        objective.optimizer.build(objective.trainable_variables)
    batch_size = config.training.batch_size
    images = np.random.default_rng(0).integers(0, 256, (batch_size, *IMAGE_SHAPE), np.uint8)
    steps = Steps(objective, images, workers, config.training.jit)
    rows = np.tile(np.arange(batch_size), (config.training.steps_per_call, 1))
    return lambda: steps(rows)["loss"], objective
