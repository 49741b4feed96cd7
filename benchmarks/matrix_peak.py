"""The speed at which a device multiplies large matrices, with which the speed of a step is compared."""

import time
from collections.abc import Callable

ROUNDS = 10
# Edge of the square matrices, and number of products that are timed together: a GPU takes milliseconds for one.
SIZE = {"CPU": 2048, "GPU": 8192}
PRODUCTS = {"CPU": 1, "GPU": 20}


def tensorflow_peak(precision: str, device: str) -> float:
    """Returns the GFLOP/s of TensorFlow in the dtype that layers of a precision compute in; TF32 as configured."""
    import keras
    import tensorflow as tf

    size, dtype = SIZE[device], keras.DTypePolicy(precision).compute_dtype
    matrix = tf.cast(tf.random.normal((size, size)) / size**0.5, dtype)  # products keep their size

    def products() -> tf.Tensor:
        result = matrix
        for _ in range(PRODUCTS[device]):
            result = result @ matrix
        return result[0, 0]

    compiled = tf.function(products, autograph=False)
    return _best(lambda: compiled().numpy(), device)


def pytorch_peak(device: str) -> float:
    """Returns the GFLOP/s of PyTorch in float32; TF32 as configured."""
    import torch

    size = SIZE[device]
    matrix = torch.randn(size, size, device="cuda" if device == "GPU" else "cpu") / size**0.5

    def products() -> float:
        result = matrix
        for _ in range(PRODUCTS[device]):
            result = result @ matrix
        return result[0, 0].item()

    return _best(products, device)


def _best(products: Callable[[], object], device: str) -> float:
    """Returns the GFLOP/s of the fastest of several rounds; the first one warms up."""
    seconds = []
    for _ in range(ROUNDS + 1):
        begin = time.perf_counter()
        products()
        seconds.append(time.perf_counter() - begin)
    return 2 * SIZE[device] ** 3 * PRODUCTS[device] / min(seconds[1:]) / 1e9
