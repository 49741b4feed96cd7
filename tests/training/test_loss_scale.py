"""float16 under several replicas: where the gradient of one overflows, all leave the step out."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.data.crop_flip import CropFlip
from acl_tf.finetune.standard import Standard
from acl_tf.training.hardware import Hardware
from acl_tf.training.sgd import SGD
from acl_tf.training.steps import Steps
from acl_tf.training.strategy import build_strategy
from acl_tf.training.workers import Workers
from tests.finetune import tiny

SPOILED = 1  # the second step


class SpoiledGradient(Standard):
    """In one step the last replica's gradient is no number."""

    def losses(self, images, perturbed, targets):
        values = super().losses(images, perturbed, targets)
        context = tf.distribute.get_replica_context()
        last = context.replica_id_in_sync_group == context.num_replicas_in_sync - 1
        here = tf.equal(tf.convert_to_tensor(self.step), SPOILED) & last

        @tf.custom_gradient
        def spoiled(loss):
            return loss, lambda upstream: upstream * tf.where(here, np.float32(np.nan), np.float32(1))

        return {"loss": spoiled(values["loss"])}


@pytest.mark.slow
def test_all_replicas_leave_a_step_out_together(run_python):
    run_python(f"from {__name__} import overflow; overflow()")


def overflow() -> None:
    workers = Workers(build_strategy(Hardware("mirrored", "cpu:2")))
    keras.config.set_dtype_policy("mixed_float16")
    with workers.strategy.scope():
        tuner = SpoiledGradient(tiny.make_encoder(synchronized=True), tiny.CLASSES, augmentation=CropFlip(1))
        tuner.compile(optimizer=SGD(0.1, momentum=0.9))
        tuner.optimizer.build(tuner.trainable_variables)
    optimizer = tuner.optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    optimizer.dynamic_scale.assign(64.0)
    steps = Steps(tuner, (tiny.IMAGES, tiny.LABELS), workers)

    def moving() -> list[np.ndarray]:
        """Weights and momentum; the same on both replicas."""
        variables = [*tuner.trainable_variables, *optimizer.inner_optimizer.variables]
        copies = [[copy.numpy() for copy in workers.strategy.experimental_local_results(v.value)] for v in variables]
        for first, second in copies:
            np.testing.assert_array_equal(first, second)
        return [first for first, _ in copies]

    states, measured = [moving()], []
    for _ in range(3):
        measured.append(steps(np.arange(6)[np.newaxis]))
        states.append(moving())
    moved = [
        sum(not np.array_equal(mine, theirs) for mine, theirs in zip(before, after, strict=True))
        for before, after in itertools.pairwise(states)
    ]
    assert moved[0] > 0 and moved[1] == 0 and moved[2] > 0, moved
    scales = [copy.numpy() for copy in workers.strategy.experimental_local_results(optimizer.dynamic_scale.value)]
    assert scales == [32.0, 32.0]
    assert (optimizer.iterations.numpy(), tuner.step.numpy()) == (2, 3)
    assert np.isfinite(measured[0]["gradient_norm"]) and not np.isfinite(measured[1]["gradient_norm"])
    assert all(np.isfinite(values["loss"]) for values in measured)
