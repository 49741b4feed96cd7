"""Attacks: one gradient loop with hooks, and one file an attack."""

from typing import TYPE_CHECKING

from acl_tf.lazy import exports
from acl_tf.registry import Registry

if TYPE_CHECKING:
    from acl_tf.attacks.autoattack.suite import AutoAttack as AutoAttack
    from acl_tf.attacks.base import GradientAttack as GradientAttack
    from acl_tf.attacks.eot import EOT as EOT
    from acl_tf.attacks.pgd import LinfPGD as PGD  # noqa: F401
    from acl_tf.attacks.restarts import worst_of as worst_of
    from acl_tf.attacks.trades import TradesPGD as TradesPGD
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "AutoAttack": "acl_tf.attacks.autoattack.suite:AutoAttack",
            "EOT": "acl_tf.attacks.eot:EOT",
            "GradientAttack": "acl_tf.attacks.base:GradientAttack",
            "PGD": "acl_tf.attacks.pgd:LinfPGD",
            "TradesPGD": "acl_tf.attacks.trades:TradesPGD",
            "worst_of": "acl_tf.attacks.restarts:worst_of",
        },
    )

PGD_NORMS = Registry(
    "norm",
    {
        "linf": "acl_tf.attacks.pgd:LinfPGD",
        "l2": "acl_tf.attacks.pgd:L2PGD",
        "l1": "acl_tf.attacks.pgd:L1PGD",
    },
)
