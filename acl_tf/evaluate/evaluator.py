"""The base of all evaluators."""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from acl_tf.config import Section, build
from acl_tf.evaluate.base import Evaluation, Measured, Target

EOT_OF_STOCHASTIC = 20  # as in AutoAttack's version for randomised defences


class Circumstances(NamedTuple):
    """The model and the set-up of an evaluation, as far as evaluators check them in advance.

    Attributes:
        classes: Number of classes of the model.
        image_size: Height and width of the images that the model takes; None: any.
        transfer: Whether the attack is crafted on another model.
        replicas: Number of replicas that share each batch.
        stochastic: Whether the model draws noise.
    """

    classes: int
    image_size: int | None = None
    transfer: bool = False
    replicas: int = 1
    stochastic: bool = False


class Evaluator:
    """Measures a classifier in one way, which `--attack NAME[:key=value,…]` names.

    A subclass declares its settings (`Settings`), refuses what it cannot evaluate (`check`), and measures (`run`).

    Args:
        name: Name of the attack, as it is written into records.
        **settings: Keys and values of `Settings`.

    Raises:
        UsageError: If a key or value is wrong.
    """

    class Settings(Section):
        """The settings `key=value` that may follow the name; none by default."""

    #: Whether the evaluator attacks the model; if so, its records name the surrogate of a transfer attack.
    attacks: ClassVar[bool] = True

    def __init__(self, name: str, /, **settings: Any) -> None:
        self.name = name
        self.settings: Any = build(self.settings_of(name), settings)

    @classmethod
    def settings_of(cls, name: str) -> type[Section]:
        """Returns the class of the settings for an attack's name."""
        return cls.Settings

    def check(self, about: Circumstances) -> None:
        """Checks, before anything expensive begins, that the evaluator can run.

        Args:
            about: Model and set-up of the evaluation.

        Raises:
            UsageError: If the evaluator does not support them.
        """

    def run(self, evaluation: Evaluation, target: Target) -> Iterator[Measured]:
        """Yields measurements, each as soon as it is finished.

        Args:
            evaluation: Images, seed, batch size.
            target: Model to evaluate.

        Raises:
            DataError: If there are no labels.
            Interrupted: If a signal asked the process to end; finished work is saved.
        """
        raise NotImplementedError


def resolved_eot(eot: int | None, stochastic: bool) -> int:
    """Returns the number of gradients to average: `eot`, or else 20 for a model that draws noise and 1 for others."""
    return eot or (EOT_OF_STOCHASTIC if stochastic else 1)
