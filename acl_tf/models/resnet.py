"""ResNet-18, -34 and -50 with a CIFAR or an ImageNet stem."""

from collections.abc import Callable, Sequence

import keras

from acl_tf.models.layers import NormFactory, conv2d, relu, scaled, stem_dtype

Block = Callable[[keras.KerasTensor, int, int, NormFactory, str], keras.KerasTensor]


def resnet10(
    x: keras.KerasTensor, norm: NormFactory, width: float = 1.0, stem: str = "cifar", stem_padding: int = 1
) -> keras.KerasTensor:
    """Returns the features, of shape `(batch, 512 * width)`; arguments as of `resnet`."""
    return resnet(x, norm, basic_block, (1, 1, 1, 1), width, stem, stem_padding)


def resnet18(
    x: keras.KerasTensor, norm: NormFactory, width: float = 1.0, stem: str = "cifar", stem_padding: int = 1
) -> keras.KerasTensor:
    """Returns the features, of shape `(batch, 512 * width)`; arguments as of `resnet`."""
    return resnet(x, norm, basic_block, (2, 2, 2, 2), width, stem, stem_padding)


def resnet34(
    x: keras.KerasTensor, norm: NormFactory, width: float = 1.0, stem: str = "cifar", stem_padding: int = 1
) -> keras.KerasTensor:
    """Returns the features, of shape `(batch, 512 * width)`; arguments as of `resnet`."""
    return resnet(x, norm, basic_block, (3, 4, 6, 3), width, stem, stem_padding)


def resnet50(
    x: keras.KerasTensor, norm: NormFactory, width: float = 1.0, stem: str = "cifar", stem_padding: int = 1
) -> keras.KerasTensor:
    """Returns the features, of shape `(batch, 2048 * width)`; arguments as of `resnet`."""
    return resnet(x, norm, bottleneck_block, (3, 4, 6, 3), width, stem, stem_padding)


def resnet(
    x: keras.KerasTensor,
    norm: NormFactory,
    block: Block,
    depths: Sequence[int],
    width: float,
    stem: str,
    stem_padding: int = 1,
) -> keras.KerasTensor:
    """Builds a residual network on a symbolic tensor.

    Layers are called as in the released checkpoints, with `_` for `.`: `layer1_0_conv1`.

    Args:
        x: Normalised images, of shape `(batch, height, width, channels)`.
        norm: Factory of normalisation layers, by their names.
        block: `basic_block` or `bottleneck_block`.
        depths: Number of blocks in each of the four stages.
        width: Factor of every number of filters.
        stem: `"cifar"` (3×3 convolution, stride 1) or `"imagenet"` (7×7, stride 2, and max-pooling).
        stem_padding: Zeros on every side of the CIFAR stem's input: 1, or 2, which makes its maps two pixels larger
            (DeACL's released network).

    Returns:
        Features, averaged over the image: shape `(batch, features)`.

    Raises:
        ValueError: If the stem is unknown, or cannot have that padding.

    Reference: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    """
    if stem_padding not in ((1, 2) if stem == "cifar" else (1,)):
        raise ValueError(
            '`stem_padding` must be 1, or 2 with the stem "cifar". '
            f"Received: stem_padding={stem_padding!r}, stem={stem!r}"
        )
    if stem == "cifar":
        x = conv2d(x, scaled(64, width), 3, "conv1", dtype=stem_dtype(), padding=stem_padding)
        x = relu(norm("bn1")(x), "relu1")
    elif stem == "imagenet":
        x = conv2d(x, scaled(64, width), 7, "conv1", stride=2, dtype=stem_dtype())
        x = relu(norm("bn1")(x), "relu1")
        # Zeros are as good as minus infinity for a maximum of rectified values.
        x = keras.layers.ZeroPadding2D(1, name="maxpool_pad")(x)
        x = keras.layers.MaxPooling2D(3, strides=2, name="maxpool")(x)
    else:
        raise ValueError(f'`stem` must be "cifar" or "imagenet". Received: stem={stem!r}')
    for stage, depth in enumerate(depths):
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            x = block(x, scaled(64 * 2**stage, width), stride, norm, f"layer{stage + 1}_{index}")
    return keras.layers.GlobalAveragePooling2D(name="features")(x)


def basic_block(x: keras.KerasTensor, filters: int, stride: int, norm: NormFactory, name: str) -> keras.KerasTensor:
    """Adds two 3×3 convolutions and a shortcut."""
    shortcut = _shortcut(x, filters, stride, norm, name)
    x = conv2d(x, filters, 3, f"{name}_conv1", stride)
    x = relu(norm(f"{name}_bn1")(x), f"{name}_relu1")
    x = conv2d(x, filters, 3, f"{name}_conv2")
    x = norm(f"{name}_bn2")(x)
    return relu(keras.layers.Add(name=f"{name}_add")([x, shortcut]), f"{name}_relu2")


def bottleneck_block(
    x: keras.KerasTensor, filters: int, stride: int, norm: NormFactory, name: str
) -> keras.KerasTensor:
    """Adds a 1×1, a 3×3 and a 1×1 convolution, the last with four times the filters, and a shortcut."""
    shortcut = _shortcut(x, 4 * filters, stride, norm, name)
    x = relu(norm(f"{name}_bn1")(conv2d(x, filters, 1, f"{name}_conv1")), f"{name}_relu1")
    x = relu(norm(f"{name}_bn2")(conv2d(x, filters, 3, f"{name}_conv2", stride)), f"{name}_relu2")
    x = norm(f"{name}_bn3")(conv2d(x, 4 * filters, 1, f"{name}_conv3"))
    return relu(keras.layers.Add(name=f"{name}_add")([x, shortcut]), f"{name}_relu3")


def _shortcut(x: keras.KerasTensor, filters: int, stride: int, norm: NormFactory, name: str) -> keras.KerasTensor:
    """Returns `x`, or its 1×1 convolution where the block changes the shape."""
    if stride == 1 and x.shape[-1] == filters:
        return x
    x = conv2d(x, filters, 1, f"{name}_downsample_conv", stride)
    return norm(f"{name}_downsample_bn")(x)
