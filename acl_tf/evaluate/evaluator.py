"""What every evaluator is."""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from acl_tf.config import Section, build
from acl_tf.evaluate.base import Evaluation, Measured, Target

EOT_OF_STOCHASTIC = 20  # as AutoAttack's version for randomised defences


class Circumstances(NamedTuple):
    """What an attack has to work with.

    Attributes:
        classes: Number of classes that the model tells apart.
        image_size: Height and width of the images that it takes; None: any.
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

    A subclass says what can be set (`Settings`), what it cannot do (`check`), and how it measures (`run`).

    Args:
        name: The name, as records call it.
        **settings: Keys and values of `Settings`.

    Raises:
        UsageError: If a key or value is wrong.
    """

    class Settings(Section):
        """What follows the name."""

    #: Whether it attacks the model, perhaps by way of another one: then records say which.
    attacks: ClassVar[bool] = True

    def __init__(self, name: str, /, **settings: Any) -> None:
        self.name = name
        self.settings: Any = build(self.settings_of(name), settings)

    @classmethod
    def settings_of(cls, name: str) -> type[Section]:
        """Returns the class of the settings that may follow a name."""
        return cls.Settings

    def check(self, about: Circumstances) -> None:
        """Says what cannot work before anything takes long.

        Args:
            about: Circumstances under which it is to run.

        Raises:
            UsageError: If it is not for such a model.
        """

    def run(self, evaluation: Evaluation, target: Target) -> Iterator[Measured]:
        """Yields what is measured.

        Args:
            evaluation: Images, seed, batch size.
            target: What is evaluated.

        Raises:
            DataError: If there are no labels.
            Interrupted: If a signal asked for an end; what is done is kept.
        """
        raise NotImplementedError


def resolved_eot(eot: int | None, stochastic: bool) -> int:
    """Returns how many gradients are averaged: `eot`, or the default for a model that draws noise, or does not."""
    return eot or (EOT_OF_STOCHASTIC if stochastic else 1)
