"""AA: accuracy under AutoAttack."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator

from acl_tf.attacks.autoattack.checks import UnsuitableModelError, check_classes
from acl_tf.attacks.autoattack.suite import ATTACKS, AutoAttack, Progress, Tally, components
from acl_tf.config import Positive, Section
from acl_tf.data.splits import labels_of
from acl_tf.errors import UsageError
from acl_tf.evaluate.base import Evaluation, Measured, Target
from acl_tf.evaluate.evaluator import Circumstances, Evaluator

SECONDS_BETWEEN_SAVES = 10.0
# The field's radii for CIFAR-10.
EPSILONS = {"linf": 8 / 255, "l2": 0.5, "l1": 12.0}


def _names(value: Any) -> Any:
    """Returns the names in a text, joined by `+` because commas separate parameters."""
    names = tuple(value.split("+")) if isinstance(value, str) else value
    if names is not None and (not names or len(set(names)) < len(names) or not set(names) <= set(ATTACKS)):
        raise ValueError(f"some of {', '.join(ATTACKS)}, each once, joined by +")
    return names


class AutoAttackAccuracy(Evaluator):
    """Accuracy under AutoAttack.

    Finished work is saved: a killed evaluation can be resumed and yields the same record, unless the model draws noise
    that no seed determines.

    Reference: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks", ICML 2020.
    """

    class Settings(Section):
        """Settings of AutoAttack.

        Attributes:
            version: `standard`, `plus` or `rand`; None: `rand` for a smoothed model, else `standard`.
            norm: `linf`, `l2` or `l1`.
            epsilon: Radius of the ball, in pixels of [0, 1]; in l2 and l1 it is the norm over the whole image; None:
                8/255 in l∞, 0.5 in l2 and 12 in l1.
            attacks: Names of the attacks to run instead of the version's, for example `apgd-ce+square`.
        """

        version: Literal["standard", "plus", "rand"] | None = None
        norm: Literal["linf", "l2", "l1"] = "linf"
        epsilon: Positive | None = None
        attacks: Annotated[tuple[str, ...], BeforeValidator(_names)] | None = None

    settings: Settings

    @property
    def epsilon(self) -> float:
        """Radius of the ball: the setting, or the default of the norm."""
        return EPSILONS[self.settings.norm] if self.settings.epsilon is None else self.settings.epsilon

    def version(self, stochastic: bool) -> str:
        """Returns the version: the setting, or else `rand` for a model that draws noise and `standard` for others."""
        return self.settings.version or ("rand" if stochastic else "standard")

    def check(self, about: Circumstances) -> None:
        if about.transfer:
            raise UsageError(
                "AutoAttack is for the model that it sees; use pgd for a black-box transfer. "
                f"Received: --attack {self.name}, --surrogate"
            )
        if about.replicas > 1:
            raise UsageError(
                f"AutoAttack runs on one device. Received: --attack {self.name}, {about.replicas} replicas"
            )
        chosen = components(self.version(about.stochastic), self.settings.norm, self.settings.attacks)
        try:
            check_classes(about.classes, chosen)
        except UnsuitableModelError as error:
            raise UsageError(str(error)) from error

    def run(self, evaluation: Evaluation, target: Target) -> Iterator[Measured]:
        """Yields one record.

        Its protocol contains the number of images that withstood each attack (`per_attack`) and the warnings; the
        record also contains the seconds of each attack (`seconds_per_attack`).

        Args:
            evaluation: Images, seed, batch size.
            target: Model to evaluate.

        Raises:
            DataError: If there are no labels.
            UsageError: If the model has too few classes for an attack, or cannot be differentiated.
            Interrupted: If a signal asked the process to end.
        """
        attack = AutoAttack(
            target.model,
            self.settings.norm,
            self.epsilon,
            self.version(target.stochastic),
            self.settings.attacks,
            evaluation.seed,
            evaluation.batch_size,
            target.crafted_on,
        )
        protocol = {
            "attack": self.name,
            "version": "custom" if self.settings.attacks else attack.version,
            "norm": attack.norm,
            "epsilon": attack.epsilon,
            "attacks": list(attack.components),
            "eot": max(component.draws for component in attack.components.values()),
            "seed": evaluation.seed,
        }
        try:
            check_classes(target.classes, attack.components)
            tally, seconds = measured(evaluation, attack, protocol, self.name)
        except UnsuitableModelError as error:
            raise UsageError(str(error)) from error
        about = {**protocol, "per_attack": attack.survivors(tally), "warnings": list(attack.warnings)}
        record = evaluation.record("robust_accuracy", tally.robust, about, seconds)
        spent = dict(zip(attack.components, np.round(tally.seconds, 3).tolist()))
        yield Measured({**record, "seconds_per_attack": spent}, tally.robust)


def measured(evaluation: Evaluation, attack: AutoAttack, protocol: dict, name: str) -> tuple[Tally, float]:
    """Runs the attacks, continuing from saved work, and returns the tally and the total seconds."""
    labels = labels_of(evaluation.image_set).astype(np.int32)
    empty = attack.tally(len(labels))
    kept = evaluation.kept("robust_accuracy", protocol, arrays_of(empty))
    tally = Tally(*kept.arrays.values())
    saved = tally.seconds.sum()

    for progress in attack.proceed(evaluation.pixels(slice(None)), labels, tally):
        show(evaluation, name, progress)
        interrupted = evaluation.interruption and evaluation.interruption.signal
        if interrupted or progress.left == 0 or tally.seconds.sum() - saved > SECONDS_BETWEEN_SAVES:
            saved = kept.seconds = float(tally.seconds.sum())
            kept.arrays = arrays_of(tally)
            kept.save()
        evaluation.stop_if_asked(f"{name} {progress.attack}", progress.total - progress.left, progress.total)
    return tally, float(tally.seconds.sum())


def arrays_of(tally: Tally) -> dict[str, np.ndarray]:
    """Returns the arrays by which a tally is saved."""
    return {"broken_by": tally.broken_by, "withstood": tally.withstood, "seconds_per_attack": tally.seconds}


def show(evaluation: Evaluation, name: str, progress: Progress) -> None:
    """Shows the number of images that the attack has left, and the robust accuracy so far."""
    accuracy = 100 * progress.robust / len(evaluation.image_set)
    evaluation.progress(
        f"{name} {progress.attack}",
        progress.total - progress.left,
        progress.total,
        f"{progress.left} left, robust accuracy {accuracy:.2f} %",
    )
