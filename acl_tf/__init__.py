"""Adversarial contrastive pre-training of robust image encoders with Keras 3 and TensorFlow.

Importing `acl_tf` imports neither TensorFlow nor Keras; what needs them is imported on first use.
"""

import os
from typing import TYPE_CHECKING

from acl_tf import onednn
from acl_tf.lazy import exports

if TYPE_CHECKING:
    from acl_tf import attacks as attacks
    from acl_tf import classifiers as classifiers
    from acl_tf import data as data
    from acl_tf import finetune as finetune
    from acl_tf import losses as losses
    from acl_tf import models as models
    from acl_tf import pretrain as pretrain
    from acl_tf import training as training
    from acl_tf.loading import load as load
    from acl_tf.loading import load_encoder as load_encoder
    from acl_tf.loading import load_saved_model as load_saved_model
    from acl_tf.models.branch import Branch as Branch
    from acl_tf.models.encoder import Encoder as Encoder
    from acl_tf.versions import __version__ as __version__
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "Branch": "acl_tf.models.branch:Branch",
            "Encoder": "acl_tf.models.encoder:Encoder",
            "__version__": "acl_tf.versions:__version__",
            "attacks": "acl_tf.attacks",
            "classifiers": "acl_tf.classifiers",
            "data": "acl_tf.data",
            "finetune": "acl_tf.finetune",
            "load": "acl_tf.loading:load",
            "load_encoder": "acl_tf.loading:load_encoder",
            "load_saved_model": "acl_tf.loading:load_saved_model",
            "losses": "acl_tf.losses",
            "models": "acl_tf.models",
            "pretrain": "acl_tf.pretrain",
            "training": "acl_tf.training",
        },
    )

# Keras reads this once, at its first import; acl_tf trains on TensorFlow only.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
onednn.turn_on()
