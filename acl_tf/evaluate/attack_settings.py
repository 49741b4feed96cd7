"""The attacks that an evaluation can run, as `--attack NAME[:parameter=value,…]` names them."""

from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from acl_tf.attacks import PGD_NORMS
from acl_tf.config import Count, NonNegative, Number, Section, assignments, build, known
from acl_tf.errors import UsageError
from acl_tf.losses import CLASSIFICATION_LOSSES
from acl_tf.registry import Registry, nearest

EOT_OF_STOCHASTIC = 20  # as AutoAttack's version for randomised defences


class Circumstances(NamedTuple):
    """What an attack has to work with.

    Attributes:
        classes: That the model tells apart.
        image_size: Height and width of the images that it takes; None: any.
        transfer: Whether the attack is crafted on another model.
        replicas: That share each batch.
        stochastic: Whether the model draws noise.
    """

    classes: int
    image_size: int | None = None
    transfer: bool = False
    replicas: int = 1
    stochastic: bool = False


class EvaluatedAttack(Section):
    """What `--attack NAME` can set; a subclass an evaluator."""

    def check(self, name: str, about: Circumstances) -> None:
        """Says what cannot work before anything takes long.

        Args:
            name: Of the attack.
            about: Under which it is to run.

        Raises:
            UsageError: If the attack is not for such a model.
        """


class AttackSettings(EvaluatedAttack):
    """A gradient attack on a classifier.

    Attributes:
        norm: `linf`, `l2` or `l1`.
        epsilon: Radius of the ball; l∞ in pixels of [0, 1], l2 and l1 over the whole image in that unit.
        step_size: Of the same unit; none: a quarter of `epsilon`.
        steps: Number of steps.
        restarts: Random starts; an image counts as robust only if it withstands all.
        start: `uniform` in the ball, or `zero`: the image itself.
        momentum: Of the gradient.
        loss: `cross_entropy`, `margin` or `dlr`.
        targeted: Whether each image is driven to the class that the model finds second most likely.
        eot: How many gradients of a stochastic model are averaged at every step; none: 20 of a smoothed one, else 1.
    """

    norm: Annotated[str, known(PGD_NORMS)] = "linf"
    epsilon: NonNegative = 8 / 255
    step_size: NonNegative | None = None
    steps: Count = 20
    restarts: Count = 1
    start: Literal["uniform", "zero"] = "uniform"
    momentum: Annotated[Number, Field(ge=0)] = 0.0
    loss: Annotated[str, known(CLASSIFICATION_LOSSES)] = "cross_entropy"
    targeted: bool = False
    eot: Count | None = None

    def protocol(self, name: str, seed: int, stochastic: bool = False) -> dict[str, Any]:
        """Returns what a record says of the attack; `stochastic`: whether it sees a model that draws noise."""
        resolved = {"step_size": self.resolved_step_size, "eot": self.resolved_eot(stochastic)}
        return {"attack": name, **self.model_dump(), **resolved, "seed": seed}

    def check(self, name: str, about: Circumstances) -> None:
        if self.loss == "dlr" and about.classes < 3:
            raise UsageError(
                f"The loss dlr needs at least 3 classes. Received: --attack {name}, {about.classes} classes"
            )

    @property
    def resolved_step_size(self) -> float:
        """`step_size`, or its default."""
        return self.epsilon / 4 if self.step_size is None else self.step_size

    def resolved_eot(self, stochastic: bool) -> int:
        """Returns `eot`, or its default for a model that draws noise, or does not."""
        return self.eot or (EOT_OF_STOCHASTIC if stochastic else 1)


class PGD20Settings(AttackSettings):
    """RA: 20 steps of a quarter of the radius (2/255 in 8/255) on cross-entropy, one uniform random start."""

    norm: Literal["linf"] = "linf"
    steps: Literal[20] = 20
    step_size: None = None
    restarts: Literal[1] = 1
    start: Literal["uniform"] = "uniform"
    momentum: Literal[0] = 0
    loss: Literal["cross_entropy"] = "cross_entropy"
    targeted: Literal[False] = False


class FGSMSettings(AttackSettings):
    """The fast gradient sign method: one step of the whole radius from the image itself."""

    norm: Literal["linf"] = "linf"
    steps: Literal[1] = 1
    step_size: None = None
    restarts: Literal[1] = 1
    start: Literal["zero"] = "zero"
    momentum: Literal[0] = 0

    @property
    def resolved_step_size(self) -> float:
        return self.epsilon


ATTACKS = Registry(
    "attack",
    {
        "fgsm": "acl_tf.evaluate.attack_settings:FGSMSettings",
        "pgd20": "acl_tf.evaluate.attack_settings:PGD20Settings",
        "pgd": "acl_tf.evaluate.attack_settings:AttackSettings",
        "autoattack": "acl_tf.evaluate.autoattack_settings:AutoAttackSettings",
        "unforeseen": "acl_tf.evaluate.unforeseen_settings:UnforeseenSettings",
    },
)
CLEAN = "none"


def parse_attack(text: str) -> tuple[str, Any | None]:
    """Reads `none`, or `NAME[:parameter=value,…]`.

    Returns:
        The attack's name, and its settings; None for `none`.

    Raises:
        UsageError: If name, parameter or value are wrong.
    """
    name, _, rest = text.partition(":")
    if name == CLEAN:
        if rest:
            raise UsageError(f"The attack {CLEAN} has no parameters. Received: {text!r}")
        return name, None
    if name not in ATTACKS:
        choices = [CLEAN, *ATTACKS]
        raise UsageError(
            f"Unknown attack{nearest(name, choices) or '.'} Known: {', '.join(choices)}; parameters follow a "
            f"colon, for example pgd:epsilon=8/255,steps=50. Received: {text!r}"
        )
    try:
        return name, build(ATTACKS[name], assignments(rest.split(",") if rest else []))
    except UsageError as error:
        raise UsageError(f"The attack {text!r} is not as it should be. {error}") from error
