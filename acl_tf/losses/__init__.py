"""Loss functions: pure functions of tensors that return one value per example."""

from typing import TYPE_CHECKING

from acl_tf.lazy import exports
from acl_tf.registry import Registry

if TYPE_CHECKING:
    from acl_tf.losses.cross_entropy import cross_entropy as cross_entropy
    from acl_tf.losses.distillation import distillation as distillation
    from acl_tf.losses.dlr import dlr as dlr
    from acl_tf.losses.kl_divergence import kl_divergence as kl_divergence
    from acl_tf.losses.margin import margin as margin
    from acl_tf.losses.nt_xent import nt_xent as nt_xent
    from acl_tf.losses.targeted import targeted as targeted
    from acl_tf.losses.targeted_dlr import targeted_dlr as targeted_dlr
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "cross_entropy": "acl_tf.losses.cross_entropy:cross_entropy",
            "distillation": "acl_tf.losses.distillation:distillation",
            "dlr": "acl_tf.losses.dlr:dlr",
            "kl_divergence": "acl_tf.losses.kl_divergence:kl_divergence",
            "margin": "acl_tf.losses.margin:margin",
            "nt_xent": "acl_tf.losses.nt_xent:nt_xent",
            "targeted": "acl_tf.losses.targeted:targeted",
            "targeted_dlr": "acl_tf.losses.targeted_dlr:targeted_dlr",
        },
    )

#: Functions of logits and labels that are higher the worse an example is classified.
CLASSIFICATION_LOSSES = Registry(
    "loss",
    {
        "cross_entropy": "acl_tf.losses.cross_entropy:cross_entropy",
        "margin": "acl_tf.losses.margin:margin",
        "dlr": "acl_tf.losses.dlr:dlr",
    },
)
