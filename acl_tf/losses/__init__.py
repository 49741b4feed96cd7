"""Loss functions: pure functions of tensors that return one value per example."""

from acl_tf.registry import Registry

#: Functions of logits and labels that are higher the worse an example is classified.
CLASSIFICATION_LOSSES = Registry(
    "loss",
    {
        "cross_entropy": "acl_tf.losses.cross_entropy:cross_entropy",
        "margin": "acl_tf.losses.margin:margin",
        "dlr": "acl_tf.losses.dlr:dlr",
    },
)
