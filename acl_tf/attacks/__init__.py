"""Attacks: one loop with hooks, one file an attack, and the balls that they stay in."""

from acl_tf.registry import Registry

#: The balls, by the names of their norms.
BALLS = Registry(
    "norm",
    {
        "linf": "acl_tf.attacks.balls:Linf",
        "l2": "acl_tf.attacks.balls:L2",
        "l1": "acl_tf.attacks.balls:L1",
    },
)
#: What training and evaluation can be told to attack by: `ATTACKS[name](**settings)`, which `Settings` of it validates.
ATTACKS = Registry(
    "attack",
    {
        "fgsm": "acl_tf.attacks.pgd:FGSM",
        "pgd20": "acl_tf.attacks.pgd:PGD20",
        "pgd": "acl_tf.attacks.pgd:PGD",
        "frank-wolfe": "acl_tf.attacks.unforeseen.frank_wolfe:L1FrankWolfe",
    },
)
#: What people call norms and attacks where that is not their names here.
NORM_WORDS = {"linf": "l∞"}
ATTACK_WORDS = {"pgd": "PGD", "fgsm": "FGSM", "frank-wolfe": "Frank–Wolfe"}
