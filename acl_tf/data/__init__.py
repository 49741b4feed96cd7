"""Images: sources, splits, augmentation, and the orders in which they are used."""

from typing import TYPE_CHECKING

from acl_tf.lazy import exports
from acl_tf.registry import Registry

if TYPE_CHECKING:
    from acl_tf.data.augment import Augmentation as Augmentation
    from acl_tf.data.crop_flip import CropFlip as CropFlip
    from acl_tf.data.digits import load_digits as load_digits
    from acl_tf.data.image_set import ImageSet as ImageSet
    from acl_tf.data.orders import Coreset as Coreset
    from acl_tf.data.orders import Order as Order
else:
    __getattr__, __dir__ = exports(
        __name__,
        {
            "Augmentation": "acl_tf.data.augment:Augmentation",
            "Coreset": "acl_tf.data.orders:Coreset",
            "CropFlip": "acl_tf.data.crop_flip:CropFlip",
            "ImageSet": "acl_tf.data.image_set:ImageSet",
            "Order": "acl_tf.data.orders:Order",
            "load_digits": "acl_tf.data.digits:load_digits",
        },
    )

ORDERS = Registry("order", {"shuffled": "acl_tf.data.orders:Shuffled"})
