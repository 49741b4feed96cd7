"""Pre-training without labels: the contract of a method, and one file a method."""

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
