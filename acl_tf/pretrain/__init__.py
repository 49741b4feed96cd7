"""Pre-training without labels: one train step, and one file an objective."""

from acl_tf.registry import Registry

OBJECTIVES = Registry(
    "variant",
    {
        "s2s": "acl_tf.pretrain.s2s:S2S",
        "a2a": "acl_tf.pretrain.a2a:A2A",
        "a2s": "acl_tf.pretrain.a2s:A2S",
        "ds": "acl_tf.pretrain.ds:DS",
    },
)
