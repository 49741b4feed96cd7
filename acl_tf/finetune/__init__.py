"""Supervised training on top of an encoder: one file per method."""

from typing import TYPE_CHECKING, Literal, get_args

from acl_tf.lazy import exports
from acl_tf.registry import Registry

if TYPE_CHECKING:
    from acl_tf.finetune.adversarial import AdversarialTraining as AdversarialTraining
    from acl_tf.finetune.base import FineTuner as FineTuner
    from acl_tf.finetune.gaussian import Gaussian as Gaussian
    from acl_tf.finetune.linear_probe import freeze as freeze
    from acl_tf.finetune.standard import Standard as Standard
    from acl_tf.finetune.trades import TRADES as TRADES
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "AdversarialTraining": "acl_tf.finetune.adversarial:AdversarialTraining",
            "FineTuner": "acl_tf.finetune.base:FineTuner",
            "Gaussian": "acl_tf.finetune.gaussian:Gaussian",
            "Standard": "acl_tf.finetune.standard:Standard",
            "TRADES": "acl_tf.finetune.trades:TRADES",
            "freeze": "acl_tf.finetune.linear_probe:freeze",
        },
    )

METHODS = Registry(
    "method",
    {
        "standard": "acl_tf.finetune.standard:Standard",
        "at": "acl_tf.finetune.adversarial:AdversarialTraining",
        "gaussian": "acl_tf.finetune.gaussian:Gaussian",
        "trades": "acl_tf.finetune.trades:TRADES",
    },
)
# Baselines of semi-supervised training, which replace ACL's distillation and do without pre-training.
BASELINES = Registry("baseline", {"uat++": "acl_tf.finetune.uat:UATPlusPlus"})

# Modes of training: all weights, or a linear layer on the frozen encoder.
Mode = Literal["full", "linear"]
MODES: tuple[str, ...] = get_args(Mode)
