"""RA: accuracy under PGD-20."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from acl_tf.attacks.base import GradientAttack
from acl_tf.attacks.pgd import LinfPGD
from acl_tf.data.image_set import ImageSet
from acl_tf.evaluate.clean import batches
from acl_tf.evaluate.record import Record, record
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.randomness import fold_in, step_seed

STEPS = 20


def run(
    model: keras.Model,
    image_set: ImageSet,
    epsilon: float = 8 / 255,
    step_size: float | None = None,
    seed: int = 0,
    protocol: Mapping[str, Any] | None = None,
    model_sha256: str | None = None,
    batch_size: int = 256,
) -> Iterator[Record]:
    """Yields the record of the accuracy under cross-entropy PGD-20 from one uniform random start.

    Args:
        model: From images in [0, 1] to logits.
        image_set: With labels.
        epsilon: Radius of the l∞ ball, in pixels of [0, 1].
        step_size: Of the attack; None: a quarter of `epsilon`, which is the published 2/255 at 8/255.
        seed: Of the random starts; each is a function of it and of the image's index alone.
        protocol: What else the number depends on.
        model_sha256: Of `model.keras`.
        batch_size: Of the evaluation; it does not change the result.

    Raises:
        DataError: If there are no labels.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 3.
    """
    begin = time.perf_counter()
    attack = LinfPGD(epsilon, epsilon / 4 if step_size is None else step_size, STEPS)
    predict = _predictor(model, attack, seed)
    correct = [
        predict(indices, images, labels).numpy().argmax(-1) == labels
        for indices, images, labels in batches(image_set, batch_size)
    ]
    described = {
        "attack": "pgd20",
        "norm": "linf",
        "epsilon": epsilon,
        "step_size": attack.step_size,
        "steps": STEPS,
        "restarts": 1,
        "start": "uniform",
        "loss": "cross_entropy",
        "targeted": False,
        "eot": 1,
        "seed": seed,
        **(protocol or {}),
    }
    value = float(np.concatenate(correct).mean())
    yield record("robust_accuracy", value, image_set, described, model_sha256, time.perf_counter() - begin)


def _predictor(model: keras.Model, attack: GradientAttack, seed: int) -> Callable[..., tf.Tensor]:
    """Returns what attacks images, each from a start of its own index, and predicts their logits."""
    first_seed = step_seed(seed, 0)

    @tf.function(reduce_retracing=True)
    def predict(indices: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        def start(index: tf.Tensor) -> tf.Tensor:
            return attack.start((1, *images.shape[1:]), fold_in(first_seed, index))[0]

        def loss(attacked: tf.Tensor) -> tf.Tensor:
            return cross_entropy(model(attacked, training=False), labels)

        starts = tf.map_fn(start, indices, fn_output_signature=tf.float32)
        return model(attack(images, loss, starts).images, training=False)

    return predict
