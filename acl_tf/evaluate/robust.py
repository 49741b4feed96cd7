"""RA: accuracy under gradient attacks."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from acl_tf.attacks import PGD_NORMS
from acl_tf.attacks.base import GradientAttack, Loss
from acl_tf.attacks.eot import EOT
from acl_tf.attacks.restarts import worst_of
from acl_tf.classifiers.stochastic import decided, draws_noise, seen_by_attacks
from acl_tf.evaluate.attack_settings import AttackSettings
from acl_tf.evaluate.base import Evaluation, Measured, Target
from acl_tf.evaluate.predictor import Predictor
from acl_tf.losses import CLASSIFICATION_LOSSES
from acl_tf.losses.margin import margin
from acl_tf.losses.targeted import targeted
from acl_tf.randomness import fold_in, step_seed
from acl_tf.records import Record
from acl_tf.training.workers import Workers
from acl_tf.types import Classifier


def run(evaluation: Evaluation, target: Target, name: str, settings: AttackSettings) -> Iterator[Measured]:
    """Yields the accuracy under an attack; see `measure`."""
    yield Measured(*measure(evaluation, target.model, name, settings, target.crafted_on))


def measure(
    evaluation: Evaluation, model: Classifier, name: str, settings: AttackSettings, crafted_on: Classifier | None = None
) -> tuple[Record, np.ndarray]:
    """Measures the accuracy under an attack.

    Args:
        evaluation: Images, seed, batch size.
        model: From images in [0, 1] to logits, in inference mode.
        name: Of the attack, as records call it: `pgd20`, ….
        settings: Of the attack.
        crafted_on: The model that the attack sees; None: `model`. Another one makes it a black-box transfer.

    Returns:
        The record, and which images withstand the attack, boolean of shape `(n,)`.

    Raises:
        DataError: If there are no labels.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 3.
    """
    predict = predictor(model, settings, evaluation.seed, crafted_on, evaluation.workers)
    protocol = settings.protocol(name, evaluation.seed, draws_noise(crafted_on or model))
    return evaluation.measure("robust_accuracy", predict, protocol)


def predictor(
    model: Classifier,
    settings: AttackSettings,
    seed: int = 0,
    crafted_on: Classifier | None = None,
    workers: Workers | None = None,
) -> Predictor:
    """Returns what attacks images, each from starts of its own index, and predicts their logits.

    Args:
        model: That is evaluated.
        settings: Of the attack.
        seed: Of the random starts.
        crafted_on: The model that the attack sees; None: `model`.
        workers: That attack together; None: this process.
    """
    crafted_on = crafted_on or model
    stochastic = draws_noise(crafted_on)
    attack = build_attack(settings, stochastic)

    def predict(indices: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        seen = seen_by_attacks(crafted_on, indices)

        def decision(attacked: tf.Tensor) -> tf.Tensor:
            return decided(model, attacked, indices)

        first_seed = step_seed(seed, 0)
        # An image counts as robust only if it withstands every start: the one of the largest margin is kept.
        starts = [
            _starts(attack, settings, images, indices, _restart_seed(first_seed, r)) for r in range(settings.restarts)
        ]
        # Of a smoothed model it is the vote that counts, not one draw of its noise.
        score = _margin(decision if stochastic else seen, labels)
        return decision(worst_of(attack, images, _loss(seen, settings, images, labels), starts, score).images)

    return Predictor(predict, workers)


def build_attack(settings: AttackSettings, stochastic: bool = False) -> GradientAttack:
    """Returns the attack that the settings describe, on a model that draws noise or does not."""
    attack = PGD_NORMS[settings.norm](
        settings.epsilon, settings.resolved_step_size, settings.steps, momentum=settings.momentum
    )
    draws = settings.resolved_eot(stochastic)
    return EOT(attack, draws) if draws > 1 else attack


def _restart_seed(seed: tf.Tensor, restart: int) -> tf.Tensor:
    return seed if restart == 0 else fold_in(seed, -restart)


def _starts(
    attack: GradientAttack, settings: AttackSettings, images: tf.Tensor, indices: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    if settings.start == "zero":
        return tf.zeros_like(images)

    def start(index: tf.Tensor) -> tf.Tensor:
        return attack.start((1, *images.shape[1:]), fold_in(seed, index))[0]

    return tf.map_fn(start, indices, fn_output_signature=tf.float32)


def _loss(model: Classifier, settings: AttackSettings, images: tf.Tensor, labels: tf.Tensor) -> Loss:
    loss = CLASSIFICATION_LOSSES[settings.loss]
    if not settings.targeted:
        return lambda attacked: loss(model(attacked), labels)
    logits = model(images)
    others = tf.where(tf.one_hot(labels, logits.shape[-1], True, False), logits.dtype.min, logits)
    runner_up = tf.argmax(others, axis=-1)
    return lambda attacked: targeted(loss)(model(attacked), runner_up)


def _margin(model: Classifier, labels: tf.Tensor) -> Loss:
    return lambda attacked: margin(model(attacked), labels)
