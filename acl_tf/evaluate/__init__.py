"""Evaluators, one file each: what `evaluate --attack` can name."""

from acl_tf.attacks import ATTACKS
from acl_tf.registry import Registry

#: Evaluators by their names; every attack of `ATTACKS` has one too, `acl_tf.evaluate.robust`.
EVALUATORS = Registry(
    "attack",
    {
        "none": "acl_tf.evaluate.clean:CleanAccuracy",
        "autoattack": "acl_tf.evaluate.autoattack:AutoAttackAccuracy",
        "unforeseen": "acl_tf.evaluate.unforeseen:UnforeseenAccuracy",
    },
)


def attack_names() -> list[str]:
    """Returns what `--attack` can name."""
    return [*EVALUATORS, *ATTACKS]
