"""Images in: sources, splits, augmentation, and the orders in which they are taken."""

from acl_tf.registry import Registry

ORDERS = Registry("order", {"shuffled": "acl_tf.data.orders:Shuffled"})
