"""AutoAttack, as `--attack autoattack[:parameter=value,…]` names it."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from acl_tf.config import Positive
from acl_tf.errors import UsageError
from acl_tf.evaluate.attack_settings import Circumstances, EvaluatedAttack

NAMES = ("apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square")


def _names(value: Any) -> Any:
    """Reads names joined by `+`: commas separate parameters."""
    names = tuple(value.split("+")) if isinstance(value, str) else value
    if names is not None and (not names or len(set(names)) < len(names) or not set(names) <= set(NAMES)):
        raise ValueError(f"some of {', '.join(NAMES)}, each once, joined by +")
    return names


class AutoAttackSettings(EvaluatedAttack):
    """AutoAttack; see `acl_tf.attacks.autoattack`.

    Attributes:
        version: `standard`, `plus` or `rand`; none: `rand` for a smoothed model, else `standard`.
        norm: `linf`, `l2` or `l1`.
        epsilon: Radius of the ball; l∞ in pixels of [0, 1], l2 and l1 over the whole image in that unit; none: 8/255 in
            l∞, 0.5 in l2 and 12 in l1, the field's for CIFAR-10.
        attacks: What is run instead of the version's attacks, for example `apgd-ce+square`.
    """

    version: Literal["standard", "plus", "rand"] | None = None
    norm: Literal["linf", "l2", "l1"] = "linf"
    epsilon: Positive | None = None
    attacks: Annotated[tuple[str, ...], BeforeValidator(_names)] | None = None

    @property
    def resolved_epsilon(self) -> float:
        """`epsilon`, or its default."""
        return {"linf": 8 / 255, "l2": 0.5, "l1": 12.0}[self.norm] if self.epsilon is None else self.epsilon

    def resolved_version(self, stochastic: bool) -> str:
        """Returns `version`, or its default for a model that draws noise, or does not."""
        return self.version or ("rand" if stochastic else "standard")

    def check(self, name: str, about: Circumstances) -> None:
        from acl_tf.attacks.autoattack.checks import UnsuitableModelError, check_classes
        from acl_tf.attacks.autoattack.suite import components

        if about.transfer:
            raise UsageError(
                "AutoAttack is for the model that it sees; use pgd for a black-box transfer. "
                f"Received: --attack {name}, --surrogate"
            )
        if about.replicas > 1:
            raise UsageError(f"AutoAttack runs on one device. Received: --attack {name}, {about.replicas} replicas")
        try:
            check_classes(about.classes, components(self.resolved_version(about.stochastic), self.norm, self.attacks))
        except UnsuitableModelError as error:
            raise UsageError(str(error)) from error
