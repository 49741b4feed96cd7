"""Pre-training without labels: the contract of a method, and one file a method."""

from typing import TYPE_CHECKING

from acl_tf.lazy import exports
from acl_tf.registry import Registry

if TYPE_CHECKING:
    from acl_tf.horizon import Horizon as Horizon
    from acl_tf.pretrain.a2a import A2A as A2A
    from acl_tf.pretrain.a2s import A2S as A2S
    from acl_tf.pretrain.contrastive import ContrastiveObjective as ContrastiveObjective
    from acl_tf.pretrain.ds import DS as DS
    from acl_tf.pretrain.objective import Objective as Objective
    from acl_tf.pretrain.passes import Networks as Networks
    from acl_tf.pretrain.passes import Pass as Pass
    from acl_tf.pretrain.passes import Term as Term
    from acl_tf.pretrain.s2s import S2S as S2S
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "A2A": "acl_tf.pretrain.a2a:A2A",
            "A2S": "acl_tf.pretrain.a2s:A2S",
            "ContrastiveObjective": "acl_tf.pretrain.contrastive:ContrastiveObjective",
            "DS": "acl_tf.pretrain.ds:DS",
            "Horizon": "acl_tf.horizon:Horizon",
            "Networks": "acl_tf.pretrain.passes:Networks",
            "Objective": "acl_tf.pretrain.objective:Objective",
            "Pass": "acl_tf.pretrain.passes:Pass",
            "S2S": "acl_tf.pretrain.s2s:S2S",
            "Term": "acl_tf.pretrain.passes:Term",
        },
    )

OBJECTIVES = Registry(
    "variant",
    {
        "s2s": "acl_tf.pretrain.s2s:S2S",
        "a2a": "acl_tf.pretrain.a2a:A2A",
        "a2s": "acl_tf.pretrain.a2s:A2S",
        "ds": "acl_tf.pretrain.ds:DS",
    },
)
