"""What all training shares: optimisers, schedules, checkpoints, the loop and its records."""

from typing import TYPE_CHECKING

from acl_tf.lazy import exports
from acl_tf.registry import Registry

if TYPE_CHECKING:
    from acl_tf.training.adamw import AdamW as AdamW
    from acl_tf.training.lars import LARS as LARS
    from acl_tf.training.schedules import EpochWarmupCosine as EpochWarmupCosine
    from acl_tf.training.schedules import WarmupCosine as WarmupCosine
    from acl_tf.training.sgd import SGD as SGD
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "AdamW": "acl_tf.training.adamw:AdamW",
            "EpochWarmupCosine": "acl_tf.training.schedules:EpochWarmupCosine",
            "LARS": "acl_tf.training.lars:LARS",
            "SGD": "acl_tf.training.sgd:SGD",
            "WarmupCosine": "acl_tf.training.schedules:WarmupCosine",
        },
    )

OPTIMIZERS = Registry(
    "optimizer",
    {
        "lars": "acl_tf.training.lars:LARS",
        "sgd": "acl_tf.training.sgd:SGD",
        "adamw": "acl_tf.training.adamw:AdamW",
    },
)
