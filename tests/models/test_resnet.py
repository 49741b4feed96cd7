import functools

import keras
import numpy as np
import pytest

from acl_tf.models import BACKBONES
from acl_tf.models.layers import conv2d
from acl_tf.models.paired_model import norm_factory
from tests.reference import convolution as reference

# Published numbers of parameters (pytorchcv's of ResNet-10, torchvision's), without the classifier of 1,000 outputs.
PUBLISHED = {
    "resnet10": 5_418_792 - 1_000 * 513,
    "resnet18": 11_689_512 - 1_000 * 513,
    "resnet34": 21_797_672 - 1_000 * 513,
    "resnet50": 25_557_032 - 1_000 * 2_049,
}
IMAGENET_STEM, CIFAR_STEM = 7 * 7 * 3 * 64, 3 * 3 * 3 * 64
FEATURES = {"resnet10": 512, "resnet18": 512, "resnet34": 512, "resnet50": 2048}


def backbone(arch: str, width: float, stem: str, size: int = 32, batch_norm: str = "single") -> keras.Model:
    images = keras.Input((size, size, 3))
    return keras.Model(images, BACKBONES[arch](images, norm_factory(batch_norm), width=width, stem=stem))


@pytest.mark.parametrize("arch", FEATURES)
@pytest.mark.parametrize(
    "stem, size, first, last",
    [("cifar", 32, 32, 4), ("cifar", 64, 64, 8), ("imagenet", 32, 8, 1), ("imagenet", 64, 16, 2)],
)
def test_shapes(arch, stem, size, first, last):
    model = backbone(arch, 0.125, stem, size)
    features = FEATURES[arch] // 8
    assert model.output_shape == (None, features)
    assert model.get_layer("layer1_0_add").output.shape == (None, first, first, features // 8)
    *_, before_pooling, _ = model.layers
    assert before_pooling.output.shape == (None, last, last, features)


@pytest.mark.parametrize("arch", FEATURES)
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_number_of_parameters_is_the_published_one(arch, stem):
    expected = PUBLISHED[arch] - (IMAGENET_STEM - CIFAR_STEM if stem == "cifar" else 0)
    assert count(backbone(arch, 1.0, stem).trainable_variables) == expected


def test_pairing_adds_gamma_and_beta_of_every_batch_norm_only():
    single, paired = (backbone("resnet18", 1.0, "cifar", batch_norm=kind) for kind in ("single", "paired"))
    channels = 5 * 64 + 5 * 128 + 5 * 256 + 5 * 512  # 20 batch normalisations, 5 of each size
    assert count(single.trainable_variables) == 11_168_832
    assert count(paired.trainable_variables) == 11_168_832 + 2 * channels
    assert count(paired.non_trainable_variables) == 2 * count(single.non_trainable_variables) == 4 * channels


def count(variables: list[keras.Variable]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


@functools.cache
def small() -> keras.Model:
    return backbone("resnet50", 0.125, "cifar")


def test_names_are_those_of_the_released_checkpoints():
    names = {layer.name for layer in small().layers if isinstance(layer, keras.layers.Conv2D)}
    depths = {1: 3, 2: 4, 3: 6, 4: 3}
    expected = {"conv1"} | {f"layer{stage}_0_downsample_conv" for stage in depths}
    for stage, depth in depths.items():
        expected |= {f"layer{stage}_{index}_conv{number}" for index in range(depth) for number in (1, 2, 3)}
    assert names == expected


def test_strides_are_in_the_first_block_of_a_stage():
    strided = {layer.name for layer in small().layers if getattr(layer, "strides", (1, 1)) == (2, 2)}
    assert strided == {f"layer{stage}_0_{part}" for stage in (2, 3, 4) for part in ("conv2", "downsample_conv")}


def test_convolutions_are_initialised_by_their_fan_out():
    kernel = backbone("resnet18", 1.0, "cifar").get_layer("layer3_0_conv1").kernel.numpy()  # from 128 to 256
    assert kernel.std() == pytest.approx(np.sqrt(2 / (3 * 3 * 256)), rel=0.01)
    assert np.abs(kernel).max() > 3 * kernel.std()  # not truncated


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [8, 9])
def test_convolution_pads_alike_on_all_sides(kernel_size, stride, size):
    image = np.random.default_rng(0).normal(size=(size, size, 2)).astype("float32")
    inputs = keras.Input(image.shape)
    model = keras.Model(inputs, conv2d(inputs, 3, kernel_size, "conv", stride))
    (kernel,) = model.get_weights()
    np.testing.assert_allclose(model(image[np.newaxis])[0], reference.conv2d(image, kernel, stride), atol=1e-5)


def test_unknown_stem():
    with pytest.raises(ValueError) as error:
        backbone("resnet18", 0.125, "mnist")
    assert str(error.value) == '`stem` must be "cifar" or "imagenet". Received: stem=\'mnist\''
