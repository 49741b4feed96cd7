"""TA and RA on the validation split after every epoch, and the choice of the best."""

import functools
from typing import Any

import keras

from acl_tf.config import AttackConfig, RunConfig
from acl_tf.data.image_set import ImageSet
from acl_tf.evaluate import clean, robust
from acl_tf.evaluate.attack_settings import AttackSettings
from acl_tf.evaluate.base import Evaluation, Predict
from acl_tf.finetune.config import ValidationConfig
from acl_tf.records import Record
from acl_tf.training.selection import Selection


class Validation:
    """Measures accuracy and robust accuracy after an epoch, and keeps the weights of the best one.

    Robust accuracy is under PGD in the training attack's ball, in steps of a quarter of its radius.

    Args:
        model: From images in [0, 1] to logits, in inference mode.
        image_set: The validation split.
        config: How many images, how often, how many steps of PGD.
        attack: Of the training.
        training: Its epochs and seed.
        selection: Of the best epoch.
    """

    def __init__(
        self,
        model: keras.Model,
        image_set: ImageSet,
        config: ValidationConfig,
        attack: AttackConfig,
        training: RunConfig,
        selection: Selection,
    ) -> None:
        self.image_set = image_set.first(config.images)
        self.every = config.every
        self.epochs = training.epochs
        self.seed = training.seed
        self.selection = selection
        self.settings = AttackSettings(epsilon=attack.epsilon, steps=config.steps)
        # Made once, so that each is traced a single time.
        self.predictors = self._predictors(model)

    def __call__(self, epoch: int) -> dict[str, float]:
        """Returns `validation_accuracy` and `validation_robust_accuracy`, or nothing where none are due."""
        if epoch % self.every and epoch != self.epochs:
            return {}
        accuracy, robust_accuracy = [record["value"] for record in self._records(self.predictors, {})]
        self.selection.update(epoch, robust_accuracy, accuracy)
        return {"validation_accuracy": accuracy, "validation_robust_accuracy": robust_accuracy}

    def records(self, model: keras.Model, epoch: int) -> list[Record]:
        """Returns the records of a model: accuracy, then robust accuracy.

        Args:
            model: From images in [0, 1] to logits.
            epoch: That the model is of.
        """
        return self._records(self._predictors(model), {"epoch": epoch})

    def _predictors(self, model: keras.Model) -> tuple[Predict, Predict]:
        classifier = functools.partial(model, training=False)
        return clean.predictor(classifier), robust.predictor(classifier, self.settings, self.seed)

    def _records(self, predictors: tuple[Predict, Predict], protocol: dict[str, Any]) -> list[Record]:
        evaluation = Evaluation(self.image_set, seed=self.seed, protocol=protocol)
        name = f"pgd{self.settings.steps}"
        clean_predictor, robust_predictor = predictors
        return [
            evaluation.measure("accuracy", clean_predictor, {"attack": "none"})[0],
            evaluation.measure("robust_accuracy", robust_predictor, self.settings.protocol(name, self.seed))[0],
        ]
