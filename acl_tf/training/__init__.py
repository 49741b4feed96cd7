"""What all training shares: optimisers, schedules, checkpoints, the loop and its records."""

from acl_tf.registry import Registry

OPTIMIZERS = Registry(
    "optimizer",
    {
        "lars": "acl_tf.training.lars:LARS",
        "sgd": "acl_tf.training.sgd:SGD",
        "adamw": "acl_tf.training.adamw:AdamW",
    },
)
