"""Attacks: one loop with hooks, one file per attack, and the balls that they stay in."""

from typing import TYPE_CHECKING, Any

from acl_tf.lazy import exports
from acl_tf.registry import Registry

if TYPE_CHECKING:
    from acl_tf.attacks.autoattack.suite import AutoAttack as AutoAttack
    from acl_tf.attacks.base import Attack as Attack
    from acl_tf.attacks.eot import with_eot as with_eot
    from acl_tf.attacks.pgd import PGD as PGD
    from acl_tf.attacks.restarts import worst_of as worst_of
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "Attack": "acl_tf.attacks.base:Attack",
            "AutoAttack": "acl_tf.attacks.autoattack.suite:AutoAttack",
            "PGD": "acl_tf.attacks.pgd:PGD",
            "with_eot": "acl_tf.attacks.eot:with_eot",
            "worst_of": "acl_tf.attacks.restarts:worst_of",
        },
    )

#: The balls, by the names of their norms.
BALLS = Registry(
    "norm",
    {
        "linf": "acl_tf.attacks.balls:Linf",
        "l2": "acl_tf.attacks.balls:L2",
        "l1": "acl_tf.attacks.balls:L1",
    },
)
#: Attacks that training and evaluation can name. `ATTACKS[name].Settings` validates the arguments of the class.
ATTACKS = Registry(
    "attack",
    {
        "fgsm": "acl_tf.attacks.pgd:FGSM",
        "pgd20": "acl_tf.attacks.pgd:PGD20",
        "pgd": "acl_tf.attacks.pgd:PGD",
        "frank-wolfe": "acl_tf.attacks.unforeseen.frank_wolfe:L1FrankWolfe",
    },
)


def build_attack(section: Any) -> Any:
    """Returns the attack that a section of a configuration describes by its `name` and the settings of that class."""
    return ATTACKS[section.name](**section.model_dump(exclude={"name"}))


#: Usual names of norms and attacks, where they differ from those used here.
NORM_WORDS = {"linf": "l∞"}
ATTACK_WORDS = {
    "pgd": "PGD",
    "fgsm": "FGSM",
    "frank-wolfe": "Frank–Wolfe",
    "autoattack": "AutoAttack",
    "worst_case": "worst case",
}
