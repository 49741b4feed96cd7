"""Linear probes: a linear classifier on a frozen encoder."""

from acl_tf.models.encoder import Encoder


def freeze(encoder: Encoder) -> Encoder:
    """Freezes an encoder, so that every method of `acl_tf.finetune` trains only the linear layer on top of it.

    The encoder runs in inference mode, and neither its weights nor the statistics of either branch change. With clean
    images (`Standard`) this is known as SLF, with attacked images (`AdversarialTraining`) as ALF.

    Args:
        encoder: Encoder, which is frozen in place.

    Returns:
        The same encoder.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, Table 5.
    """
    encoder.trainable = False
    return encoder
