"""RA: accuracy under an attack of the registry."""

import functools
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import numpy as np
import tensorflow as tf
from pydantic import create_model, field_validator

from acl_tf.attacks import ATTACKS
from acl_tf.attacks.base import Attack, Loss
from acl_tf.attacks.eot import with_eot
from acl_tf.attacks.restarts import worst_of
from acl_tf.config import Count, Section, arguments_of, known
from acl_tf.errors import UsageError
from acl_tf.evaluate.base import Evaluation, Measured, Target
from acl_tf.evaluate.evaluator import Circumstances, Evaluator, resolved_eot
from acl_tf.evaluate.predictor import Predictor
from acl_tf.losses import CLASSIFICATION_LOSSES
from acl_tf.losses.margin import margin
from acl_tf.losses.targeted import targeted
from acl_tf.randomness import fold_in, step_seed
from acl_tf.records import Record
from acl_tf.stochastic import decide, draws_noise, seen_by_attacks
from acl_tf.training.workers import Workers
from acl_tf.types import Classifier

# Settings that a record contains whenever the attack has them, in this order. Other settings are added only if they
# differ from their defaults, so that records of earlier versions equal those of the same attack today.
SAID = ("norm", "epsilon", "step_size", "steps", "restarts", "start", "momentum", "loss", "targeted", "eot")


class RobustAccuracy(Evaluator):
    """Accuracy under an attack of `ATTACKS`; its settings are those of the attack and those of the evaluation.

    Args:
        name: Name of the attack, as it is written into records: `pgd20`, ….
        **settings: Keys and values of the attack's `Settings` and of `RobustAccuracy.Settings`.

    Example:

    ```python
    record, withstood = RobustAccuracy("pgd", norm="l2", epsilon=0.5).measure(evaluation, model)
    ```

    Raises:
        UsageError: If a key or value is wrong.

    Reference: Jiang et al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020, section 3.
    """

    class Settings(Section):
        """The settings that an evaluation adds to those of an attack.

        Attributes:
            restarts: Number of runs from different starts; an image counts as robust only if it withstands all of them.
            loss: Loss that the attack raises: `cross_entropy`, `margin` or `dlr`.
            targeted: Whether the attack drives each image to the wrong class that the model finds most likely.
            eot: Number of gradients that are averaged at every step; None: 20 for a smoothed model, else 1.
        """

        restarts: Count = 1
        loss: Annotated[str, known(CLASSIFICATION_LOSSES)] = "cross_entropy"
        targeted: bool = False
        eot: Count | None = None

        @field_validator("steps", check_fields=False)
        @classmethod
        def _at_least_one(cls, steps: int) -> int:
            if steps < 1:
                raise ValueError("greater than or equal to 1")
            return steps

    def __init__(self, name: str, /, **settings: Any) -> None:
        super().__init__(name, **settings)
        kind = ATTACKS[name]
        self.attack: Attack = kind(**arguments_of(kind, self.settings))

    @classmethod
    def settings_of(cls, name: str) -> type[Section]:
        return _settings_of(name)

    def check(self, about: Circumstances) -> None:
        if self.settings.loss == "dlr" and about.classes < 3:
            raise UsageError(
                f"The loss dlr needs at least 3 classes. Received: --attack {self.name}, {about.classes} classes"
            )

    def run(self, evaluation: Evaluation, target: Target) -> Iterator[Measured]:
        yield Measured(*self.measure(evaluation, target.model, target.crafted_on))

    def measure(
        self, evaluation: Evaluation, model: Classifier, crafted_on: Classifier | None = None
    ) -> tuple[Record, np.ndarray]:
        """Measures the accuracy under the attack.

        Args:
            evaluation: Images, seed, batch size.
            model: Function from images in [0, 1] to logits, in inference mode.
            crafted_on: Model that the attack sees; None: `model`. With another model it is a black-box transfer.

        Returns:
            The record, and a mask of the images that withstand the attack, boolean of shape `(n,)`.

        Raises:
            DataError: If there are no labels.
        """
        predict = self.predictor(model, evaluation.seed, crafted_on, evaluation.workers)
        protocol = self.protocol(evaluation.seed, draws_noise(crafted_on or model))
        return evaluation.measure("robust_accuracy", predict, protocol)

    def protocol(self, seed: int, stochastic: bool = False) -> dict[str, Any]:
        """Returns the record's entries about the attack.

        Args:
            seed: Seed of the random starts.
            stochastic: Whether the attack sees a model that draws noise.
        """
        values = {**self.settings.model_dump(), "eot": resolved_eot(self.settings.eot, stochastic)}
        if self.attack.norm is not None:
            values["norm"] = self.attack.norm
        if "step_size" in values:
            values["step_size"] = self.attack.step_size
        fields = type(self.settings).model_fields
        said = {key: values[key] for key in SAID if key in values}
        others = {key: value for key, value in values.items() if key not in said and value != fields[key].default}
        return {"attack": self.name, **said, **others, "seed": seed}

    def predictor(
        self,
        model: Classifier,
        seed: int = 0,
        crafted_on: Classifier | None = None,
        workers: Workers | None = None,
    ) -> Predictor:
        """Returns a predictor that attacks images and returns the logits of the attacked images.

        Args:
            model: Model to evaluate.
            seed: Seed of the random starts, which also depend on the image's index.
            crafted_on: Model that the attack sees; None: `model`.
            workers: Workers that attack together; None: this process, on one device.
        """
        crafted_on = crafted_on or model
        stochastic = draws_noise(crafted_on)
        attack = with_eot(self.attack, resolved_eot(self.settings.eot, stochastic))

        def predict(indices: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
            seen = seen_by_attacks(crafted_on, indices)

            def decision(attacked: tf.Tensor) -> tf.Tensor:
                return decide(model, attacked, indices)

            # An image counts as robust only if it withstands every start, so the largest margin is kept.
            seeds = [restart_seed(step_seed(seed, 0), restart) for restart in range(self.settings.restarts)]
            starts = [starts_of_images(attack, images, indices, functools.partial(fold_in, one)) for one in seeds]
            # For a smoothed model the vote counts, not one draw of its noise.
            score = _margin(decision if stochastic else seen, labels)
            return decision(worst_of(attack, images, self._loss(seen, images, labels), starts, score).images)

        return Predictor(predict, workers)

    def _loss(self, model: Classifier, images: tf.Tensor, labels: tf.Tensor) -> Loss:
        loss = CLASSIFICATION_LOSSES[self.settings.loss]
        if not self.settings.targeted:
            return lambda attacked: loss(model(attacked), labels)
        logits = model(images)
        others = tf.where(tf.one_hot(labels, logits.shape[-1], True, False), logits.dtype.min, logits)
        runner_up = tf.argmax(others, axis=-1)
        return lambda attacked: targeted(loss)(model(attacked), runner_up)


@functools.cache
def _settings_of(name: str) -> type[Section]:
    """Returns the class of the settings of an attack and its evaluation; those that the name implies are fixed."""
    attack = ATTACKS[name]
    fixed: dict[str, Any] = {key: (Literal[value], value) for key, value in attack.fixed.items()}
    return create_model(f"{attack.__name__}Settings", __base__=(RobustAccuracy.Settings, attack.Settings), **fixed)


def restart_seed(seed: tf.Tensor, restart: int) -> tf.Tensor:
    """Returns the seed of the starts of a run; `restart` is the number of the run, from 0."""
    return seed if restart == 0 else fold_in(seed, -restart)


def starts_of_images(
    attack: Attack, images: tf.Tensor, indices: tf.Tensor, seed_of: Callable[[tf.Tensor], tf.Tensor]
) -> Any:
    """Draws the starts of an attack for each image separately, so that they do not depend on the batch.

    Args:
        attack: The attack.
        images: Images of shape `(batch, height, width, channels)`.
        indices: Indices of the images, int32 of shape `(batch,)`.
        seed_of: Function from an index to a seed.
    """

    def draw(index: tf.Tensor) -> Any:
        start = attack.start((1, *images.shape[1:]), seed_of(index), images.dtype)
        return tf.nest.map_structure(lambda value: value[0], start)

    signature = tf.nest.map_structure(lambda value: value.dtype, draw(indices[0]))
    return tf.map_fn(draw, indices, fn_output_signature=signature)


def _margin(model: Classifier, labels: tf.Tensor) -> Loss:
    return lambda attacked: margin(model(attacked), labels)
