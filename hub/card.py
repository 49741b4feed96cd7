"""The model card, by the name that it had in acl-tf 0.1; it has moved to `acl_tf.model_folder.card`."""

from acl_tf.model_folder.card import card, users_text

__all__ = ["card", "users_text"]
