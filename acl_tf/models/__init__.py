"""What is trained and shipped: backbones, paired batch normalisation, heads and encoders."""

from typing import TYPE_CHECKING

from acl_tf.lazy import exports
from acl_tf.registry import Registry

if TYPE_CHECKING:
    from acl_tf.models.average import ExponentialAverage as ExponentialAverage
    from acl_tf.models.branch import Branch as Branch
    from acl_tf.models.encoder import Encoder as Encoder
    from acl_tf.models.heads import MLPHead as MLPHead
    from acl_tf.models.heads import ProjectionHead as ProjectionHead
    from acl_tf.models.heads import linear_classifier as linear_classifier
    from acl_tf.models.paired_model import PairedModel as PairedModel
    from acl_tf.models.paired_model import extract_branch as extract_branch
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "Branch": "acl_tf.models.branch:Branch",
            "Encoder": "acl_tf.models.encoder:Encoder",
            "ExponentialAverage": "acl_tf.models.average:ExponentialAverage",
            "MLPHead": "acl_tf.models.heads:MLPHead",
            "PairedModel": "acl_tf.models.paired_model:PairedModel",
            "ProjectionHead": "acl_tf.models.heads:ProjectionHead",
            "extract_branch": "acl_tf.models.paired_model:extract_branch",
            "linear_classifier": "acl_tf.models.heads:linear_classifier",
        },
    )

BACKBONES = Registry(
    "architecture",
    {
        "resnet10": "acl_tf.models.resnet:resnet10",
        "resnet18": "acl_tf.models.resnet:resnet18",
        "resnet34": "acl_tf.models.resnet:resnet34",
        "resnet50": "acl_tf.models.resnet:resnet50",
        "wrn-28-10": "acl_tf.models.wide_resnet:wide_resnet_28_10",
        "wrn-34-10": "acl_tf.models.wide_resnet:wide_resnet_34_10",
    },
)
