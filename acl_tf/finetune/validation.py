"""TA and RA on the validation split after every epoch, and the choice of the best epoch."""

import functools
from typing import Any

import keras

from acl_tf.classifiers.smoothed import SmoothedClassifier
from acl_tf.data.image_set import ImageSet
from acl_tf.evaluate import clean
from acl_tf.evaluate.base import Evaluation
from acl_tf.evaluate.predictor import Predictor
from acl_tf.evaluate.robust import RobustAccuracy
from acl_tf.finetune.config import BallConfig, ValidationConfig
from acl_tf.records import Record
from acl_tf.training.config import RunConfig
from acl_tf.training.selection import Selection
from acl_tf.training.workers import Workers

SAMPLES = 10  # number of noisy copies that vote on a validation image


class Validation:
    """Measures accuracy and robust accuracy after an epoch, and keeps the weights of the best one.

    Robust accuracy is measured under PGD with steps of a quarter of the radius. The best epoch is the one with the best
    robust accuracy or, for a model that is meant to be smoothed, with the best accuracy of the vote of noisy copies.

    Args:
        model: Model from images in [0, 1] to logits.
        image_set: The validation split.
        config: Section `validation`: numbers of images, of epochs between measurements, and of PGD steps.
        ball: Norm and radius of PGD.
        training: Section `training`: number of epochs, and seed.
        selection: Copy of the weights of the best epoch.
        workers: Processes that measure together; None: this process, on one device.
        sigma: Standard deviation of the noise on which the model is trained; None: it is trained without noise.
    """

    def __init__(
        self,
        model: keras.Model,
        image_set: ImageSet,
        config: ValidationConfig,
        ball: BallConfig,
        training: RunConfig,
        selection: Selection,
        workers: Workers | None = None,
        sigma: float | None = None,
    ) -> None:
        self.image_set = image_set.first(config.images)
        self.every = config.every
        self.epochs = training.epochs
        self.seed = training.seed
        self.selection = selection
        self.sigma = sigma
        self.attacked = RobustAccuracy("pgd", norm=ball.norm, epsilon=ball.epsilon, steps=config.steps)
        # Made once, so that each is traced only once.
        self.workers = workers or Workers()
        self.predictors = self._predictors(model, self.workers)

    def __call__(self, epoch: int) -> dict[str, float]:
        """Returns `validation_accuracy` and `validation_robust_accuracy`, or nothing if the epoch is not measured.

        With `sigma`, `validation_smoothed_accuracy` is returned too.
        """
        if epoch % self.every and epoch != self.epochs:
            return {}
        measured = self._records(self.predictors, {}, self.workers)
        accuracy, robust_accuracy, *smoothed = [record["value"] for record in measured]
        self.selection.update(epoch, smoothed[0] if smoothed else robust_accuracy, accuracy)
        values = {"validation_accuracy": accuracy, "validation_robust_accuracy": robust_accuracy}
        return {**values, "validation_smoothed_accuracy": smoothed[0]} if smoothed else values

    def records(self, model: keras.Model, epoch: int) -> list[Record]:
        """Returns records of accuracy, robust accuracy and, with `sigma`, of the vote, measured by this process alone.

        Args:
            model: Model from images in [0, 1] to logits.
            epoch: Number of the epoch after which the model had these weights.
        """
        alone = Workers()
        return self._records(self._predictors(model, alone), {"epoch": epoch}, alone)

    def _predictors(self, model: keras.Model, workers: Workers) -> list[Predictor]:
        classifier = functools.partial(model, training=False)
        predictors = [
            clean.predictor(classifier, workers),
            self.attacked.predictor(classifier, self.seed, workers=workers),
        ]
        if self.sigma is not None:
            predictors.append(clean.predictor(SmoothedClassifier(classifier, self.sigma, SAMPLES, self.seed), workers))
        return predictors

    def _records(self, predictors: list[Predictor], protocol: dict[str, Any], workers: Workers) -> list[Record]:
        evaluation = Evaluation(self.image_set, seed=self.seed, protocol=protocol, workers=workers)
        under_attack = {**self.attacked.protocol(self.seed), "attack": f"pgd{self.attacked.attack.steps}"}
        measured: list[tuple[str, dict[str, Any]]] = [
            ("accuracy", {"attack": "none"}),
            ("robust_accuracy", under_attack),
        ]
        if self.sigma is not None:
            measured += [("accuracy", {"attack": "none", "sigma": self.sigma, "samples": SAMPLES, "seed": self.seed})]
        return [
            evaluation.measure(metric, predictor, about)[0]
            for predictor, (metric, about) in zip(predictors, measured, strict=True)
        ]
