"""Supervised training on top of an encoder: one file a method."""

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
