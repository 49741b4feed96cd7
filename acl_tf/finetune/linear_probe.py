"""Linear probes: a classifier on an encoder that does not move."""

from acl_tf.models.encoder import Encoder


def freeze(encoder: Encoder) -> Encoder:
    """Freezes an encoder; every method of `acl_tf.finetune` then trains nothing but the linear layer on it.

    The encoder runs in inference mode, and neither its weights nor the statistics of either branch change. On clean
    images (`Standard`) this is the field's SLF, on attacked ones (`AdversarialTraining`) ALF.

    Args:
        encoder: Encoder, which is frozen in place.

    Returns:
        The same encoder.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Table 5.
    """
    encoder.trainable = False
    return encoder
