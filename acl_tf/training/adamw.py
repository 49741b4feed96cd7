"""AdamW, Keras' own, with its settings."""

import keras

from acl_tf.config import NonNegative, Section


@keras.saving.register_keras_serializable("acl_tf")
class AdamW(keras.optimizers.AdamW):
    """Adam with decoupled weight decay.

    Reference: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, Algorithm 2.
    """

    class Settings(Section):
        """Settings of AdamW; see the arguments of `keras.optimizers.AdamW`."""

        weight_decay: NonNegative = 1e-6
