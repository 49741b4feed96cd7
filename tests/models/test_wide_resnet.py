import keras
import numpy as np
import pytest

from acl_tf.models import BACKBONES
from acl_tf.models.paired_model import norm_factory


def backbone(arch: str, width: float, stem: str = "cifar", size: int = 32) -> keras.Model:
    images = keras.Input((size, size, 3))
    return keras.Model(images, BACKBONES[arch](images, norm_factory("single"), width=width, stem=stem))


def parameters(blocks: int, widen: int) -> int:
    """Zagoruyko and Komodakis' Table 1, added up: convolutions and batch normalisation, no classifier."""
    total, inputs = 3 * 3 * 3 * 16, 16
    for filters in (16 * widen, 32 * widen, 64 * widen):
        for _ in range(blocks):
            total += 2 * inputs + 9 * inputs * filters + 2 * filters + 9 * filters * filters
            total += inputs * filters if inputs != filters else 0  # the shortcut
            inputs = filters
    return total + 2 * inputs


@pytest.mark.parametrize("arch, blocks, published", [("wrn-28-10", 4, 36.5e6), ("wrn-34-10", 5, 46.2e6)])
def test_number_of_parameters_is_the_published_one(arch, blocks, published):
    model = backbone(arch, 1.0)
    assert model.output_shape == (None, 640)
    total = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert total == parameters(blocks, 10)
    with_classifier = total + 641 * 10
    assert with_classifier == pytest.approx(published, rel=2e-3)


@pytest.mark.parametrize("arch, blocks", [("wrn-28-10", 4), ("wrn-34-10", 5)])
@pytest.mark.parametrize("size", [32, 64])
def test_shapes(arch, blocks, size):
    model = backbone(arch, 0.05, size=size)
    assert model.output_shape == (None, 32)
    for stage in (1, 2, 3):
        side = size // 2 ** (stage - 1)
        for index in range(blocks):
            block = model.get_layer(f"block{stage}_layer_{index}_add")
            assert block.output.shape == (None, side, side, 4 * 2**stage)
    shortcuts = [layer.name for layer in model.layers if "Shortcut" in layer.name]
    assert shortcuts == [f"block{stage}_layer_0_convShortcut" for stage in (1, 2, 3)]


def test_every_convolution_of_a_block_comes_after_its_normalisation():
    model = backbone("wrn-28-10", 0.05)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.name != "conv1":
            before = layer.input._keras_history.operation
            if isinstance(before, keras.layers.ZeroPadding2D):
                before = before.input._keras_history.operation
            assert isinstance(before, keras.layers.ReLU), layer.name


def test_other_stems_are_refused():
    with pytest.raises(ValueError) as error:
        backbone("wrn-28-10", 0.05, stem="imagenet")
    assert str(error.value) == "A wide residual network has the stem \"cifar\" only. Received: stem='imagenet'"
