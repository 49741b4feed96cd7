"""Accuracy under unforeseen attacks, and UAR."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import tensorflow as tf
from pydantic import AfterValidator, BeforeValidator

from acl_tf.attacks.base import Loss
from acl_tf.attacks.unforeseen.distortions import DISTORTIONS, STRENGTHS
from acl_tf.config import Count, Section
from acl_tf.errors import UsageError
from acl_tf.evaluate.base import Evaluation, Measured, Target
from acl_tf.evaluate.evaluator import Circumstances, Evaluator, resolved_eot
from acl_tf.evaluate.predictor import Predictor
from acl_tf.evaluate.robust import starts_of_images
from acl_tf.losses.cross_entropy import cross_entropy
from acl_tf.losses.targeted import targeted
from acl_tf.randomness import fold_in, step_seed
from acl_tf.records import Record
from acl_tf.registry import nearest
from acl_tf.stochastic import decide, draws_noise, seen_by_attacks
from acl_tf.training.workers import Workers
from acl_tf.types import Classifier

CALIBRATED_ON = "cifar10"
# Keys of a protocol that a mean over strengths leaves out.
OF_ONE_STRENGTH = ("epsilon", "unit", "step_size")


def _distortions(value: str) -> str:
    """Returns the names of distortions, joined by `+`, in the order of the table."""
    names = value.split("+")
    unknown = [name for name in names if name not in DISTORTIONS]
    if unknown or len(set(names)) < len(names):
        hint = nearest(unknown[0], DISTORTIONS) if unknown else ""
        raise ValueError(f"different ones of {', '.join(DISTORTIONS)}, joined by +{hint}")
    return "+".join(sorted(names, key=list(DISTORTIONS).index))


def _strengths(value: str) -> str:
    """Returns the numbers of strengths, joined by `+`, in ascending order."""
    numbers = value.split("+")
    if not set(numbers) <= {str(strength) for strength in STRENGTHS} or len(set(numbers)) < len(numbers):
        raise ValueError("different ones of 1 to 6, joined by +")
    return "+".join(sorted(numbers))


# YAML reads a single strength as a number.
as_text = BeforeValidator(lambda value: str(value) if type(value) is int else value)


class UnforeseenAccuracy(Evaluator):
    """Accuracy under each distortion at each strength, with the means over strengths and over distortions.

    `protocol.distortion` is the name of the distortion, or `mean_10` for the mean of ten; `protocol.strength` is 1 to
    6, or `mean`. If a distortion is calibrated and measured at all strengths, a record with the metric `uar` follows
    its mean. The last records are the means over distortions, of accuracies and of UAR, if there are at least two.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016; code:
    ddkang/advex-uar, advex_uar/eval/evaluator.py.
    """

    class Settings(Section):
        """Settings of the distortions of Kang et al., each at several strengths.

        Attributes:
            distortions: Names of the distortions, joined by `+`.
            strengths: Numbers from 1 to 6, joined by `+`; UAR needs all of them.
            steps: Number of steps; the published evaluation took 200.
            targets: Target of the attack. `random`: another class, drawn for each image, as when ATA was measured;
                `none`: any class but the label, a stronger attack.
            eot: Number of losses that are averaged at every step; None: 20 for a smoothed model, else 1.

        Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016;
        ddkang/advex-uar, README, "CIFAR-10 calibrations", and advex_uar/analysis/calibrations/cifar-10/calibs.out.
        """

        distortions: Annotated[str, AfterValidator(_distortions)] = "+".join(DISTORTIONS)
        strengths: Annotated[str, as_text, AfterValidator(_strengths)] = "+".join(map(str, STRENGTHS))
        steps: Count = 30
        targets: Literal["random", "none"] = "random"
        eot: Count | None = None

    settings: Settings

    @property
    def distortions(self) -> list[str]:
        """Names of the distortions."""
        return self.settings.distortions.split("+")

    @property
    def strengths(self) -> list[int]:
        """Numbers of the strengths."""
        return [int(strength) for strength in self.settings.strengths.split("+")]

    def check(self, about: Circumstances) -> None:
        self.check_size(about.image_size, about.image_size)

    def check_size(self, height: int | None, width: int | None) -> None:
        """Raises `UsageError` if JPEG would have to pad images of this size; None: the size is not known yet."""
        fits = height is None or width is None or (height % 16 == 0 and width % 16 == 0)
        if not fits and any(distortion.startswith("jpeg") for distortion in self.distortions):
            others = "+".join(distortion for distortion in DISTORTIONS if not distortion.startswith("jpeg"))
            raise UsageError(
                "JPEG needs images whose height and width are multiples of 16; leave it out by "
                f"--attack {self.name}:distortions={others}. Received: {height}x{width}"
            )

    def run(self, evaluation: Evaluation, target: Target) -> Iterator[Measured]:
        self.check_size(*evaluation.image_set.image_shape[:2])
        means: dict[str, list[Record]] = {"robust_accuracy": [], "uar": []}
        for distortion in self.distortions:
            records = []
            for strength in self.strengths:
                records.append(self.measure(evaluation, target, distortion, strength))
                yield Measured(records[-1])
            mean = mean_record(records, {"strength": "mean", "strengths": self.settings.strengths})
            for record in [mean, *uar_records(mean, distortion)]:
                means[record["metric"]].append(record)
                yield Measured(record)
        for records in means.values():
            if len(records) > 1:
                names = "+".join(record["protocol"]["distortion"] for record in records)
                yield Measured(mean_record(records, {"distortion": f"mean_{len(records)}", "distortions": names}))

    def measure(self, evaluation: Evaluation, target: Target, distortion: str, strength: int) -> Record:
        """Measures the accuracy under one distortion at one strength."""
        predict = self.predictor(target, distortion, strength, evaluation.seed, evaluation.workers)
        protocol = self.protocol(evaluation.seed, distortion, strength, draws_noise(target.crafted_on))
        return evaluation.measure("robust_accuracy", predict, protocol)[0]

    def protocol(self, seed: int, distortion: str, strength: int, stochastic: bool = False) -> dict[str, Any]:
        """Returns the protocol of the record of one distortion at one strength.

        Args:
            seed: Seed of starts and target classes.
            distortion: Name of the distortion.
            strength: Strength, from 1 to 6.
            stochastic: Whether the attack sees a model that draws noise.
        """
        about, steps = DISTORTIONS[distortion], self.settings.steps
        epsilon = about.epsilons[strength - 1]
        return {
            "attack": self.name,
            "distortion": distortion,
            "strength": strength,
            "epsilon": epsilon,
            "unit": about.unit,
            "steps": steps,
            "step_size": about.step_size(epsilon, steps),
            "targets": self.settings.targets,
            "eot": resolved_eot(self.settings.eot, stochastic),
            "seed": seed,
        }

    def predictor(
        self, target: Target, distortion: str, strength: int, seed: int = 0, workers: Workers | None = None
    ) -> Predictor:
        """Returns a predictor that distorts images and returns the logits of the distorted images.

        Args:
            target: Model to attack.
            distortion: Name of the distortion.
            strength: Strength, from 1 to 6.
            seed: Seed of starts and target classes, which also depend on the distortion and on the image's index.
            workers: Workers that attack together; None: this process, on one device.
        """
        attack = DISTORTIONS[distortion].build(strength, self.settings.steps)
        place = list(DISTORTIONS).index(distortion)
        eot = resolved_eot(self.settings.eot, draws_noise(target.crafted_on))

        def predict(indices: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            first_seed = fold_in(step_seed(seed, 0), place)

            def shift(index: tf.Tensor) -> tf.Tensor:
                own_seed = fold_in(fold_in(first_seed, index), 1)
                return tf.random.stateless_uniform([1], own_seed, 1, target.classes, tf.int32)[0]

            starts = starts_of_images(attack, images, indices, lambda index: fold_in(fold_in(first_seed, index), 0))
            others = (labels + tf.cast(tf.map_fn(shift, indices), labels.dtype)) % target.classes
            loss = self._loss(seen_by_attacks(target.crafted_on, indices), eot, labels, others)
            return decide(target.model, attack(images, loss, starts).images, indices)

        return Predictor(predict, workers)

    def _loss(self, seen: Classifier, eot: int, labels: tf.Tensor, others: tf.Tensor) -> Loss:
        def loss(images: tf.Tensor) -> tf.Tensor:
            logits = seen(images)
            to_others = self.settings.targets == "random"
            return targeted(cross_entropy)(logits, others) if to_others else cross_entropy(logits, labels)

        return lambda images: tf.add_n([loss(images) for _ in range(eot)]) / eot


def mean_record(records: list[Record], changes: Mapping[str, Any]) -> Record:
    """Returns the record of the mean of several records.

    Args:
        records: Records of the same images.
        changes: Entries of the mean's protocol that replace those of the records.
    """
    kept = {key: value for key, value in records[0]["protocol"].items() if key not in OF_ONE_STRENGTH}
    value = sum(record["value"] for record in records) / len(records)
    seconds = round(sum(record["seconds"] for record in records), 3)
    return {**records[0], "value": value, "protocol": {**kept, **changes}, "seconds": seconds}


def uar_records(mean: Record, distortion: str) -> list[Record]:
    """Returns a list with the record of UAR, empty if UAR is not defined.

    Args:
        mean: Record of the mean accuracy over the strengths of the distortion.
        distortion: Name of the distortion.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016;
    ddkang/advex-uar, README, "Definition of UAR".
    """
    trained = DISTORTIONS[distortion].trained
    if trained is None or mean["protocol"]["strengths"] != "+".join(map(str, STRENGTHS)):
        return []
    value = mean["value"] * len(trained) / sum(trained)
    return [{**mean, "metric": "uar", "value": value, "protocol": {**mean["protocol"], "calibrated_on": CALIBRATED_ON}}]
