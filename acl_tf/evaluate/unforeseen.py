"""Accuracy under unforeseen attacks, and UAR."""

from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from acl_tf.attacks.base import GradientAttack, Loss
from acl_tf.attacks.unforeseen.latent import LatentAttack
from acl_tf.classifiers.stochastic import decided, draws_noise, seen_by_attacks
from acl_tf.evaluate.base import Evaluation, Measured, Target
from acl_tf.evaluate.predictor import Predictor
from acl_tf.evaluate.unforeseen_settings import (
    DISTORTION_ATTACKS,
    DISTORTIONS,
    LEVELS,
    STRENGTHS,
    UnforeseenSettings,
)
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.targeted import targeted
from acl_tf.randomness import fold_in, step_seed
from acl_tf.records import Record
from acl_tf.training.workers import Workers
from acl_tf.types import Classifier

CALIBRATED_ON = "cifar10"
# Of a protocol: what a mean over strengths has several of.
OF_ONE_STRENGTH = ("epsilon", "unit", "step_size")


def run(evaluation: Evaluation, target: Target, name: str, settings: UnforeseenSettings) -> Iterator[Measured]:
    """Yields the accuracy under every distortion at every strength, under every distortion, and over all of them.

    `protocol.distortion` names the distortion, or is `mean_10` for the mean of ten; `protocol.strength` is 1 to 6, or
    `mean`. Where a distortion is calibrated and measured at all strengths, a record with the metric `uar` follows its
    mean; the last is the mean of these. One distortion alone has no mean over several.

    Args:
        evaluation: Images, seed, batch size.
        target: What is attacked.
        name: Of the attack, as records call it.
        settings: Which distortions, and how strong.

    Raises:
        DataError: If there are no labels.
        UsageError: If the images are of a size that a distortion cannot have.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016; code:
    ddkang/advex-uar, advex_uar/eval/evaluator.py.
    """
    settings.check_size(name, *evaluation.image_set.image_shape[:2])
    means: dict[str, list[Record]] = {"robust_accuracy": [], "uar": []}
    for distortion in settings.names:
        records = []
        for strength in settings.numbers:
            records.append(measure(evaluation, target, name, settings, distortion, strength))
            yield Measured(records[-1])
        mean = mean_record(records, {"strength": "mean", "strengths": settings.strengths})
        for record in [mean, *uar_records(mean, distortion)]:
            means[record["metric"]].append(record)
            yield Measured(record)
    for records in means.values():
        if len(records) > 1:
            names = "+".join(record["protocol"]["distortion"] for record in records)
            yield Measured(mean_record(records, {"distortion": f"mean_{len(records)}", "distortions": names}))


def measure(
    evaluation: Evaluation, target: Target, name: str, settings: UnforeseenSettings, distortion: str, strength: int
) -> Record:
    """Measures the accuracy under one distortion at one strength."""
    predict = predictor(target, settings, distortion, strength, evaluation.seed, evaluation.workers)
    protocol = settings.protocol(name, evaluation.seed, distortion, strength, draws_noise(target.crafted_on))
    return evaluation.measure("robust_accuracy", predict, protocol)[0]


def predictor(
    target: Target,
    settings: UnforeseenSettings,
    distortion: str,
    strength: int,
    seed: int = 0,
    workers: Workers | None = None,
) -> Predictor:
    """Returns what distorts images and predicts their logits.

    Args:
        target: What is attacked.
        settings: Of the attack.
        distortion: Its name.
        strength: From 1 to 6.
        seed: With the distortion and an image's index, all that the image's start and target class depend on.
        workers: That attack together; None: this process.
    """
    attack = build_attack(settings, distortion, strength)
    place = list(DISTORTIONS).index(distortion)
    eot = settings.resolved_eot(draws_noise(target.crafted_on))

    def predict(indices: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        first_seed = fold_in(step_seed(seed, 0), place)

        def draw(index: tf.Tensor) -> Any:
            own_seed = fold_in(first_seed, index)
            start = attack.start((1, *images.shape[1:]), fold_in(own_seed, 0), images.dtype)
            shift = tf.random.stateless_uniform([1], fold_in(own_seed, 1), 1, target.classes, tf.int32)
            return tf.nest.map_structure(lambda value: value[0], (start, shift))

        signature = tf.nest.map_structure(lambda value: value.dtype, draw(indices[0]))
        starts, shifts = tf.map_fn(draw, indices, fn_output_signature=signature)
        others = (labels + tf.cast(shifts, labels.dtype)) % target.classes
        loss = _loss(seen_by_attacks(target.crafted_on, indices), settings, eot, labels, others)
        return decided(target.model, attack(images, loss, starts).images, indices)

    return Predictor(predict, workers)


def build_attack(settings: UnforeseenSettings, distortion: str, strength: int) -> GradientAttack | LatentAttack:
    """Returns the attack of a distortion at a strength."""
    about = DISTORTIONS[distortion]
    unit = 255 if about.unit == LEVELS else 1
    epsilon = about.epsilons[strength - 1] / unit
    step_size = about.step_size(epsilon, settings.steps)
    sizes = {} if step_size is None else {"step_size": step_size}
    return DISTORTION_ATTACKS[distortion](epsilon=epsilon, steps=settings.steps, **sizes)


def _loss(seen: Classifier, settings: UnforeseenSettings, eot: int, labels: tf.Tensor, others: tf.Tensor) -> Loss:
    def loss(images: tf.Tensor) -> tf.Tensor:
        logits = seen(images)
        return (
            targeted(cross_entropy)(logits, others) if settings.targets == "random" else cross_entropy(logits, labels)
        )

    return lambda images: tf.add_n([loss(images) for _ in range(eot)]) / eot


def mean_record(records: list[Record], changes: Mapping[str, Any]) -> Record:
    """Returns the record of the mean of several.

    Args:
        records: Of the same images.
        changes: What its protocol says that theirs do not.
    """
    kept = {key: value for key, value in records[0]["protocol"].items() if key not in OF_ONE_STRENGTH}
    value = sum(record["value"] for record in records) / len(records)
    seconds = round(sum(record["seconds"] for record in records), 3)
    return {**records[0], "value": value, "protocol": {**kept, **changes}, "seconds": seconds}


def uar_records(mean: Record, distortion: str) -> list[Record]:
    """Returns the record of UAR, or none where it is not defined.

    Args:
        mean: Of the accuracies under the distortion.
        distortion: Its name.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016;
    ddkang/advex-uar, README, "Definition of UAR".
    """
    trained = DISTORTIONS[distortion].trained
    if trained is None or mean["protocol"]["strengths"] != "+".join(map(str, STRENGTHS)):
        return []
    value = mean["value"] * len(trained) / sum(trained)
    return [{**mean, "metric": "uar", "value": value, "protocol": {**mean["protocol"], "calibrated_on": CALIBRATED_ON}}]
