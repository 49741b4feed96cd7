"""A toy objective: three views in one pass, two weighted terms, an average that is published."""

import tensorflow as tf

from acl_tf.config import Positive, Section
from acl_tf.losses.nt_xent import nt_xent
from acl_tf.models.average import ExponentialAverage
from acl_tf.models.branch import Branch
from acl_tf.models.heads import MLPHead
from acl_tf.pretrain import OBJECTIVES, Networks, Objective, Pass, Term


@OBJECTIVES.register("toy")
class Toy(Objective):
    """Contrasts three views, and keeps features short; the weight of that and the augmentation grow by epoch."""

    class Settings(Section):
        """Settings of the toy."""

        temperature: Positive = 0.5
        length_weight: Positive = 0.1

    attacks = False
    terms_logged = ("contrast", "length")

    @classmethod
    def networks(cls, settings, model, image_shape):
        encoder = model.encoder(image_shape)
        return Networks(encoder, MLPHead(encoder.feature_dim, (8, 4), synchronized=True))

    def setup(self):
        self.average = ExponentialAverage((self.encoder, self.projection_head), decay=0.9)

    def strength(self):
        return tf.cast(self.epoch() + 1, tf.float32) / self.horizon.epochs

    def views(self, images, seed):
        return self.augmented(images, seed, 3)

    def passes(self, views, perturbed):
        return (Pass(views, Branch.ADVERSARIAL),)

    def terms(self, *projections):
        (views,) = projections
        contrast = nt_xent(*views, temperature=self.settings.temperature)
        weight = self.settings.length_weight * tf.cast(self.epoch() + 1, contrast.dtype)
        return {"contrast": Term(contrast), "length": Term(tf.reduce_sum(tf.square(views[0]), axis=1), weight)}

    def after_step(self):
        self.average.update()

    def published(self):
        return Networks(*self.average.copies)
