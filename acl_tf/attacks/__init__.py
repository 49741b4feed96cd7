"""Attacks: one gradient loop with hooks, and one file an attack."""

from acl_tf.registry import Registry

PGD_NORMS = Registry(
    "norm",
    {
        "linf": "acl_tf.attacks.pgd:LinfPGD",
        "l2": "acl_tf.attacks.pgd:L2PGD",
        "l1": "acl_tf.attacks.pgd:L1PGD",
    },
)
