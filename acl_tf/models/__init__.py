"""What is trained and shipped: backbones, paired batch normalisation, heads and encoders."""

from acl_tf.registry import Registry

BACKBONES = Registry(
    "architecture",
    {
        "resnet18": "acl_tf.models.resnet:resnet18",
        "resnet34": "acl_tf.models.resnet:resnet34",
        "resnet50": "acl_tf.models.resnet:resnet50",
        "wrn-28-10": "acl_tf.models.wide_resnet:wide_resnet_28_10",
        "wrn-34-10": "acl_tf.models.wide_resnet:wide_resnet_34_10",
    },
)
