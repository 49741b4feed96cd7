"""The layers that backbones are built from, as functions of symbolic tensors."""

from collections.abc import Callable

import keras
import tensorflow as tf

from acl_tf import onednn

# Makes the normalisation layer of that name and returns what calls it. A backbone asks for one wherever it
# normalises, so paired, single and built-in batch normalisation are one argument.
NormFactory = Callable[[str], Callable[[keras.KerasTensor], keras.KerasTensor]]


def conv2d(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    name: str,
    stride: int = 1,
    dtype: str | None = None,
    padding: int | None = None,
) -> keras.KerasTensor:
    """Convolves without bias, padded on every side by `padding`, or by `kernel_size // 2` where that is None.

    Keras' `padding="same"` pads only below and to the right where the stride is 2, which is not the published
    network.
    """
    half = kernel_size // 2
    pixels = half if padding is None else padding
    same = pixels == half and (stride == 1 or pixels == 0)
    if not same:
        x = keras.layers.ZeroPadding2D(pixels, dtype=dtype, name=f"{name}_pad")(x)
    subsampled = kernel_size == 1 and stride > 1 and onednn.decision()["on"] is not False
    return (SubsampledConv2D if subsampled else keras.layers.Conv2D)(
        filters,
        kernel_size,
        strides=stride,
        padding="same" if same else "valid",
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        dtype=dtype,
        name=name,
    )(x)


class SubsampledConv2D(keras.layers.Conv2D):
    """A 1×1 convolution with a stride, which first drops the pixels that the stride leaves out.

    It computes what `keras.layers.Conv2D` does, bit by bit where oneDNN is right. Of a native one with fewer channels
    than a vector holds (8 with AVX2), oneDNN's gradient of the kernel is wrong by as much as itself: it reads memory
    that nothing was written to (TensorFlow 2.21.0).
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        rows, columns = self.strides
        return tf.nn.conv2d(inputs[:, ::rows, ::columns], kernel, strides=1, padding="VALID")


def relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Rectifies."""
    return keras.layers.ReLU(name=name)(x)


def stem_dtype() -> str:
    """Returns the dtype of input, normalisation and first convolution, which mixed precision leaves alone.

    bfloat16 has 8 bits of mantissa: it would round a perturbation of 8/255 by 7 % of itself.
    """
    return keras.config.dtype_policy().variable_dtype


def scaled(filters: int, width: float) -> int:
    """Returns the number of filters at a width multiplier, at least 1."""
    return max(1, round(filters * width))
