"""Supervised training on top of an encoder: one file a method."""

from typing import Literal, get_args

from acl_tf.registry import Registry

METHODS = Registry(
    "method",
    {
        "standard": "acl_tf.finetune.standard:Standard",
        "at": "acl_tf.finetune.adversarial:AdversarialTraining",
        "gaussian": "acl_tf.finetune.gaussian:Gaussian",
        "trades": "acl_tf.finetune.trades:TRADES",
    },
)
# What takes the place of ACL's distillation in semi-supervised training, without pre-training.
BASELINES = Registry("baseline", {"uat++": "acl_tf.finetune.uat:UATPlusPlus"})

# What is trained: all weights, or a linear layer on the frozen encoder.
Mode = Literal["full", "linear"]
MODES: tuple[str, ...] = get_args(Mode)
