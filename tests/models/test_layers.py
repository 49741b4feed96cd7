import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.models.layers import conv2d


def gradients(layer: keras.layers.Conv2D, images: np.ndarray, slopes: np.ndarray) -> list[np.ndarray]:
    """Of the sum of the layer's outputs times the slopes, with respect to the images and the kernel."""
    inputs = tf.constant(images, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = tf.reduce_sum(layer(inputs) * tf.constant(slopes, tf.float32))
    return [gradient.numpy() for gradient in tape.gradient(total, [inputs, layer.kernel.value])]


@pytest.mark.parametrize("size", [7, 8, 16])
@pytest.mark.parametrize("channels", [*range(1, 10), 16])
def test_a_narrow_shortcut_has_the_right_gradients(channels, size):
    """oneDNN has wrong ones for few channels; memory that was used before makes it show."""
    random = np.random.default_rng(0)
    images = random.normal(size=(6, size, size, channels))
    outputs = conv2d(keras.KerasTensor(images.shape), 2 * channels, 1, "shortcut", stride=2)
    layer = outputs._keras_history.operation
    kernel = np.asarray(layer.kernel, np.float64)[0, 0]
    slopes = random.normal(size=outputs.shape)
    np.testing.assert_allclose(layer(images.astype("float32")), images[:, ::2, ::2] @ kernel, atol=1e-5)
    for _ in range(3):
        of_images, of_kernel = gradients(layer, images, slopes)
        expected = np.zeros(images.shape)
        expected[:, ::2, ::2] = slopes @ kernel.T
        np.testing.assert_allclose(of_images, expected, atol=1e-5)
        np.testing.assert_allclose(
            of_kernel[0, 0], np.einsum("nhwi,nhwo->io", images[:, ::2, ::2], slopes), rtol=1e-4, atol=1e-4
        )
