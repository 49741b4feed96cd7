"""A toy order: half of the images, drawn anew every second epoch."""

import numpy as np

from acl_tf.config import Count, Section
from acl_tf.data.orders import ORDERS, Coreset


@ORDERS.register("halves")
class Halves(Coreset):
    """Takes half of the images; `order.every` says after how many epochs another half is drawn."""

    class Settings(Section):
        """Settings of the toy."""

        every: Count = 2

    def sizes(self):
        return (self.images // 2,) * self.epochs

    def choose(self, epoch, probe):
        if epoch % self.settings.every:
            return None
        weight = float(np.abs(probe.model.encoder.trainable_variables[0].numpy()).sum())  # it may ask the model
        return np.random.default_rng((self.seed, epoch, round(weight))).permutation(self.images)[: self.images // 2]
