"""An encoder of two blocks, whose graphs are traced in no time, and what the tests make of it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf

from acl_tf.attacks.pgd import PGD
from acl_tf.data.crop_flip import CropFlip
from acl_tf.export.pytorch import import_state
from acl_tf.finetune.base import FineTuner
from acl_tf.finetune.linear_probe import freeze
from acl_tf.model_folder.write import TrainedModel, write_model_folder
from acl_tf.models import BACKBONES
from acl_tf.models.branch import Branch
from acl_tf.models.encoder import Encoder
from acl_tf.models.layers import NormFactory
from acl_tf.models.resnet import basic_block, resnet
from acl_tf.training.sgd import SGD

EPSILON, STEP_SIZE = 8 / 255, 2 / 255
SEED = (3, 14)
CLASSES = 3
BATCH, SIZE = 6, 8
WIDTH = 0.0625
IMAGES = np.random.default_rng(0).integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8)
LABELS = np.arange(BATCH) % CLASSES


def tiny(x: keras.KerasTensor, norm: NormFactory, width: float, stem: str) -> keras.KerasTensor:
    return resnet(x, norm, basic_block, (1, 1), width, stem)


@contextlib.contextmanager
def tiny_architecture() -> Iterator[None]:
    """Within it, `tiny` is an architecture like others."""
    with mock.patch.dict(BACKBONES._targets, {"tiny": f"{__name__}:tiny"}):
        yield


def make_encoder(size: int = SIZE, seed: int = 0, synchronized: bool = False) -> Encoder:
    """An encoder whose branches differ, the same every time."""
    keras.utils.set_random_seed(seed)
    with tiny_architecture():
        encoder = Encoder("tiny", WIDTH, image_shape=(size, size, 3), synchronized=synchronized, name="encoder")
    random = np.random.default_rng(seed)
    for variable in encoder.weights:
        if branch_of(variable.path):
            variable.assign(random.uniform(0.5, 1.5, variable.shape))
    return encoder


def branch_of(path: str) -> str | None:
    """The branch that a variable belongs to; None if both share it."""
    return next((str(branch) for branch in Branch if str(branch) in path.split("/")), None)


def write_encoder(path: Path, branch: str = "adversarial", seed: int = 0, size: int = SIZE, **recipe: Any) -> Path:
    """Writes the model folder of an encoder that was, as far as anybody can tell, pre-trained."""
    write_model_folder(path, TrainedModel(make_encoder(size, seed), Branch(branch), recipe))
    return path


def build(cls: type[FineTuner], mode: str = "full", steps: int = 2, classifier: bool = True, **kwargs: Any) -> Any:
    """A compiled tuner, with a classifier that knows something unless `classifier` is false."""
    encoder = freeze(make_encoder()) if mode == "linear" else make_encoder()
    kwargs = {"augmentation": CropFlip(1), "attack": PGD(EPSILON, STEP_SIZE, steps), **kwargs}
    tuner = cls(encoder, CLASSES, **kwargs)
    if classifier:
        kernel, bias = tuner.classifier.get_weights()
        random = np.random.default_rng(1)
        tuner.classifier.set_weights([random.normal(size=kernel.shape), random.normal(size=bias.shape)])
    tuner.compile(optimizer=SGD(0.1))
    tuner.optimizer.build(tuner.trainable_variables)
    return tuner


def inputs() -> tuple[tf.Tensor, tf.Tensor]:
    """Images in [0, 1], and others inside the ball around them."""
    images = IMAGES / np.float32(255)
    noise = np.random.default_rng(2).uniform(-EPSILON, EPSILON, images.shape)
    return tf.constant(images), tf.constant(np.clip(images + noise, 0, 1), tf.float32)


def weights(tuner: FineTuner) -> dict[str, np.ndarray]:
    """All variables of encoder and classifier by path."""
    parts = {"encoder": tuner.encoder, "classifier": tuner.classifier}
    return {f"{name}/{variable.path}": variable.numpy() for name, part in parts.items() for variable in part.weights}


def changed(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> set[str]:
    assert before.keys() == after.keys()
    return {path for path in before if not np.array_equal(before[path], after[path])}


def published(parity: dict[str, np.ndarray], cls: type[FineTuner], **kwargs: Any) -> Any:
    """A tuner with the encoder and the classifier of the authors' numbers."""
    imported = import_state({name[6:]: array for name, array in parity.items() if name.startswith("state/")})
    tuner = cls(imported.encoder, 10, "adversarial", **kwargs)
    tuner.classifier.set_weights([parity["finetune/fc/weight"].T, parity["finetune/fc/bias"]])
    return tuner


def logits_of_both(tuner: FineTuner, clean: tf.Tensor, attacked: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What training computes: batch statistics, of the clean and of the attacked batch; nothing is moved."""
    before = tuner.encoder.get_weights()
    both = [tuner(x, training=True).numpy().astype(np.float64) for x in (clean, attacked)]
    tuner.encoder.set_weights(before)
    return both[0], both[1]
