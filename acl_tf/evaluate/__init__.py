"""Evaluators, which `evaluate --attack` names: one file each."""

from acl_tf.attacks import ATTACKS
from acl_tf.registry import Registry

#: Evaluators by their names; all attacks of `ATTACKS` are evaluated by `acl_tf.evaluate.robust`.
EVALUATORS = Registry(
    "attack",
    {
        "none": "acl_tf.evaluate.clean:CleanAccuracy",
        "autoattack": "acl_tf.evaluate.autoattack:AutoAttackAccuracy",
        "unforeseen": "acl_tf.evaluate.unforeseen:UnforeseenAccuracy",
    },
)


def attack_names() -> list[str]:
    """Returns the names that `--attack` accepts."""
    return [*EVALUATORS, *ATTACKS]
