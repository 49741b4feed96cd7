"""Images: sources, splits, augmentation, and the orders in which they are used."""

from acl_tf.registry import Registry

ORDERS = Registry("order", {"shuffled": "acl_tf.data.orders:Shuffled"})
