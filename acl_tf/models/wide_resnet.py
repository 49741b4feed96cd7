"""Wide residual networks WRN-28-10 and WRN-34-10, for images of CIFAR's size."""

import keras

from acl_tf.models.layers import NormFactory, conv2d, relu, scaled, stem_dtype


def wide_resnet_28_10(
    x: keras.KerasTensor, norm: NormFactory, width: float = 1.0, stem: str = "cifar", stem_padding: int = 1
) -> keras.KerasTensor:
    """Returns the features, of shape `(batch, 640 * width)`; arguments as of `wide_resnet`."""
    return wide_resnet(x, norm, 28, 10, width, stem, stem_padding)


def wide_resnet_34_10(
    x: keras.KerasTensor, norm: NormFactory, width: float = 1.0, stem: str = "cifar", stem_padding: int = 1
) -> keras.KerasTensor:
    """Returns the features, of shape `(batch, 640 * width)`; arguments as of `wide_resnet`."""
    return wide_resnet(x, norm, 34, 10, width, stem, stem_padding)


def wide_resnet(
    x: keras.KerasTensor,
    norm: NormFactory,
    depth: int,
    widen_factor: int,
    width: float,
    stem: str,
    stem_padding: int = 1,
) -> keras.KerasTensor:
    """Builds a wide residual network, normalisation before convolution, on a symbolic tensor.

    Layers are called as in TRADES' checkpoints, with `_` for `.`: `block1_layer_0_conv1`.

    Args:
        x: Normalised images, of shape `(batch, height, width, channels)`.
        norm: Factory of normalisation layers, by their names.
        depth: Number of convolutions, of the form 6 n + 4.
        widen_factor: Width relative to a plain residual network.
        width: Factor of every number of filters.
        stem: `"cifar"`; these networks have no other.
        stem_padding: 1; these networks have no other.

    Returns:
        Features, averaged over the image: shape `(batch, features)`.

    Raises:
        ValueError: If the stem or its padding is another one.

    Reference: Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016.
    """
    if stem != "cifar":
        raise ValueError(f'A wide residual network has the stem "cifar" only. Received: stem={stem!r}')
    if stem_padding != 1:
        raise ValueError(f"A wide residual network pads its stem by 1 only. Received: stem_padding={stem_padding!r}")
    x = conv2d(x, scaled(16, width), 3, "conv1", dtype=stem_dtype())
    for stage in range(3):
        filters = scaled(16 * 2**stage * widen_factor, width)
        for index in range((depth - 4) // 6):
            stride = 2 if stage > 0 and index == 0 else 1
            x = _block(x, filters, stride, norm, f"block{stage + 1}_layer_{index}")
    x = relu(norm("bn1")(x), "relu")
    return keras.layers.GlobalAveragePooling2D(name="features")(x)


def _block(x: keras.KerasTensor, filters: int, stride: int, norm: NormFactory, name: str) -> keras.KerasTensor:
    activated = relu(norm(f"{name}_bn1")(x), f"{name}_relu1")
    if x.shape[-1] == filters and stride == 1:
        shortcut = x
    else:
        shortcut = conv2d(activated, filters, 1, f"{name}_convShortcut", stride)
    x = conv2d(activated, filters, 3, f"{name}_conv1", stride)
    x = relu(norm(f"{name}_bn2")(x), f"{name}_relu2")
    x = conv2d(x, filters, 3, f"{name}_conv2")
    return keras.layers.Add(name=f"{name}_add")([x, shortcut])
