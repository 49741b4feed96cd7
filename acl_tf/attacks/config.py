"""The section `attack` of a training's configuration: the name of an attack, and the settings of its class."""

from collections.abc import Mapping
from typing import Any

from acl_tf.attacks import ATTACKS
from acl_tf.config import Choice, Settings

ATTACK = Choice(ATTACKS, "attack", "pgd")


def suited_defaults(method: Any, settings: Settings) -> Settings:
    """Returns the defaults of a method that suit the attack and the norm that the settings choose.

    The method's defaults of the section `attack` hold for the method's own attack only. If the settings choose another
    attack, all of them are left out; if they choose another norm, `epsilon` and `step_size` are.

    Args:
        method: Class with `defaults` by section, and `attacks`.
        settings: Nested mappings, as read from YAML.

    Raises:
        UsageError: If there is no attack of the name that the settings choose.
    """
    defaults, attack = dict(method.defaults), dict(method.defaults.get(ATTACK.section, {}))
    defaults.pop(ATTACK.section, None)
    if not method.attacks or ATTACK.name_in(settings) != attack.get(ATTACK.key, ATTACK.default):
        return defaults
    section = settings.get(ATTACK.section)
    norm = section.get("norm") if isinstance(section, Mapping) else None
    if norm not in (None, attack.get("norm", "linf")):
        attack = {key: value for key, value in attack.items() if key not in ("epsilon", "step_size")}
    return {**defaults, ATTACK.section: attack}
