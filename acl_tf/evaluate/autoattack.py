"""AA: accuracy under AutoAttack."""

from collections.abc import Iterator

import numpy as np

from acl_tf.attacks.autoattack.checks import UnsuitableModelError, check_classes
from acl_tf.attacks.autoattack.suite import AutoAttack, Progress, Tally
from acl_tf.data.splits import labels_of
from acl_tf.errors import UsageError
from acl_tf.evaluate.autoattack_settings import AutoAttackSettings
from acl_tf.evaluate.base import Evaluation, Measured, Target

SECONDS_BETWEEN_SAVES = 10.0


def run(evaluation: Evaluation, target: Target, name: str, settings: AutoAttackSettings) -> Iterator[Measured]:
    """Yields the accuracy under AutoAttack.

    What is done is kept: a killed evaluation goes on, and ends with the same record, except for a model whose noise
    nothing determines.

    Args:
        evaluation: Images, seed, batch size.
        target: The model.
        name: Of the attack, as records call it.
        settings: Version, norm, radius, attacks.

    Yields:
        One record. Its protocol says how many images each attack left (`per_attack`), and the warnings; beside it stand
        the seconds of each attack (`seconds_per_attack`).

    Raises:
        DataError: If there are no labels.
        UsageError: If the model has too few classes for an attack, or cannot be differentiated.
        Interrupted: If a signal asked for an end.

    Reference: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks", ICML 2020.
    """
    attack = AutoAttack(
        target.model,
        settings.norm,
        settings.resolved_epsilon,
        settings.resolved_version(target.stochastic),
        settings.attacks,
        evaluation.seed,
        evaluation.batch_size,
        target.crafted_on,
    )
    protocol = {
        "attack": name,
        "version": "custom" if settings.attacks else attack.version,
        "norm": attack.norm,
        "epsilon": attack.epsilon,
        "attacks": list(attack.components),
        "eot": max(component.draws for component in attack.components.values()),
        "seed": evaluation.seed,
    }
    try:
        check_classes(target.classes, attack.components)
        tally, seconds = measured(evaluation, attack, protocol, name)
    except UnsuitableModelError as error:
        raise UsageError(str(error)) from error
    about = {**protocol, "per_attack": attack.survivors(tally), "warnings": list(attack.warnings)}
    record = evaluation.record("robust_accuracy", tally.robust, about, seconds)
    spent = dict(zip(attack.components, np.round(tally.seconds, 3).tolist()))
    yield Measured({**record, "seconds_per_attack": spent}, tally.robust)


def measured(evaluation: Evaluation, attack: AutoAttack, protocol: dict, name: str) -> tuple[Tally, float]:
    """Returns what came of the attacks, and how many seconds they took; what is done already is not done again."""
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
    """Returns what a file remembers of a tally."""
    return {"broken_by": tally.broken_by, "withstood": tally.withstood, "seconds_per_attack": tally.seconds}


def show(evaluation: Evaluation, name: str, progress: Progress) -> None:
    """Shows how many images the attack still has to decide on, and the robust accuracy so far."""
    accuracy = 100 * progress.robust / len(evaluation.image_set)
    evaluation.progress(
        f"{name} {progress.attack}",
        progress.total - progress.left,
        progress.total,
        f"{progress.left} left, robust accuracy {accuracy:.2f} %",
    )
