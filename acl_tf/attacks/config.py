"""The section `attack` of a training: the name of an attack, and the settings of its class."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from acl_tf.attacks import ATTACKS
from acl_tf.config import Choice, Section, Settings

if TYPE_CHECKING:
    from acl_tf.attacks.base import Attack

ATTACK = Choice(ATTACKS, "attack", "pgd")
# Step of training in l∞, whatever the radius; in other norms it is the share of the radius that PGD has.
STEP_SIZE = 2 / 255


def with_attack(defaults: Settings, settings: Settings, steps: int) -> Settings:
    """Returns the defaults of a method and of its attack; those of PGD are training's, other attacks have their own.

    Args:
        defaults: What the method sets, by section.
        settings: Nested mappings, as read from YAML.
        steps: Number of steps of PGD.

    Raises:
        UsageError: If there is no attack of the name that the settings choose.
    """
    others = {name: values for name, values in defaults.items() if name != ATTACK.section}
    if ATTACK.name_in(settings) != ATTACK.default:
        return others
    section = settings.get(ATTACK.section)
    norm = section.get("norm", "linf") if isinstance(section, Mapping) else "linf"
    step_size = {"step_size": STEP_SIZE} if norm == "linf" else {}
    return {**others, ATTACK.section: {"steps": steps, **step_size, **defaults.get(ATTACK.section, {})}}


def build_attack(section: Section) -> "Attack":
    """Builds the attack that a section describes."""
    settings: dict[str, Any] = section.model_dump()
    return ATTACKS[settings.pop(ATTACK.key)](**settings)
