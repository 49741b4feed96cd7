"""Training steps, compiled: from the numbers of images to what the steps measured."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from acl_tf.training.workers import Workers

# Arrays of which a batch takes rows: `images`, or `(images, labels)`, ….
Data = Any
# A data set up to this size lies in the memory of a GPU, which then gets the numbers of the images alone.
RESIDENT_BYTES = 2 * 2**30
# How pixels lie there: GPUs gather rows of these, and not of bytes.
WORD = np.dtype(np.int64)


class Steps:
    """Takes a model's `train_step` on rows of a data set, under any strategy, several steps a call.

    Args:
        model: The model, compiled in the strategy's scope.
        data: NumPy arrays, nested as the model's `train_step` takes them, each with a row an image.
        workers: Processes whose replicas share each batch.
        jit: Whether XLA compiles the step; on one device only.
    """

    def __init__(self, model: keras.Model, data: Data, workers: Workers, jit: bool = False) -> None:
        self.model = model
        self.workers = workers
        self.strategy = workers.strategy
        self.names: list[str] = []
        self.step = tf.function(self.model.train_step, jit_compile=True) if jit else self.model.train_step
        self.data = data
        self.resident = self._on_devices() if fits_on_gpu(data) else None
        self.one = tf.function(self._one)
        self.several = tf.function(self._several, reduce_retracing=True)

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        """Takes a step for each batch.

        Args:
            rows: Rows of the images of each batch, integers of shape `(steps, global batch)`.

        Returns:
            The running means of what the model measures, and the `learning_rate` of the last step.
        """
        given = self.strategy.experimental_distribute_values_from_function(
            lambda context: self._given(rows[:, share_of(rows.shape[1], context)])
        )
        with self.workers.watched():
            values = self.one(given) if len(rows) == 1 else self.several(given, tf.constant(len(rows)))
            measured = self.strategy.experimental_local_results(values)[0].numpy()
        return dict(zip(self.names, measured.tolist(), strict=True))

    def _given(self, rows: np.ndarray) -> Any:
        """Returns what a replica gets of its rows: their numbers where it has the data, or else the data."""
        if self.resident is not None:
            return tf.constant(rows, tf.int32)
        return tf.nest.map_structure(lambda array: tf.constant(array[rows]), self.data)

    def _on_devices(self) -> Any:
        """Returns the data in the memory of each replica's device."""
        # TensorFlow's default strategy has no list of its one device.
        devices = self.strategy.extended.worker_devices if self.workers.replicas > 1 else ("",)

        def copy(context: tf.distribute.experimental.ValueContext) -> Data:
            with tf.device(devices[context.replica_id_in_sync_group % len(devices)]):
                return tf.nest.map_structure(lambda array: tf.constant(packed(array)), self.data)

        return self.strategy.experimental_distribute_values_from_function(copy)

    def _one(self, given: Any) -> tf.Tensor:
        return self.strategy.run(self._replica_step, (given, 0, self.resident))

    def _several(self, given: Any, count: tf.Tensor) -> tf.Tensor:
        for number in tf.range(count - 1):
            self.strategy.run(self._replica_step, (given, number, self.resident))
        return self.strategy.run(self._replica_step, (given, count - 1, self.resident))

    # As in Keras 3: a training step is not rewritten by AutoGraph, which would cost as long as tracing it.
    @tf.autograph.experimental.do_not_convert
    def _replica_step(self, given: Any, number: int | tf.Tensor, resident: Data | None) -> tf.Tensor:
        """Takes one step of one replica; `given` is `(steps, local batch, …)`."""
        batch = tf.nest.map_structure(lambda value: value[number], given)
        if resident is not None:
            rows = batch
            batch = tf.nest.map_structure(
                lambda array, words: unpacked(tf.gather(words, rows), array), self.data, resident
            )
        rate = self.model.optimizer.learning_rate  # of this step
        measured = {**self.step(batch), "learning_rate": tf.convert_to_tensor(rate)}
        self.names = list(measured)
        return tf.stack([tf.cast(value, tf.float32) for value in measured.values()])  # one value to fetch


def share_of(batch: int, context: tf.distribute.experimental.ValueContext) -> slice:
    """Returns a replica's rows of a batch, which the number of replicas divides."""
    share = batch // context.num_replicas_in_sync
    return slice(context.replica_id_in_sync_group * share, (context.replica_id_in_sync_group + 1) * share)


def packed(array: np.ndarray) -> np.ndarray:
    """Returns bytes as words, a row an image; anything else as it is."""
    if array.dtype != np.uint8:
        return array
    rows = array.reshape(len(array), -1)
    return np.pad(rows, [(0, 0), (0, -rows.shape[1] % WORD.itemsize)]).view(WORD)


def unpacked(rows: tf.Tensor, array: np.ndarray) -> tf.Tensor:
    """Returns rows of a `packed` array as they were."""
    if array.dtype != np.uint8:
        return rows
    content = tf.reshape(tf.bitcast(rows, tf.uint8), [-1, rows.shape[1] * WORD.itemsize])
    return tf.reshape(content[:, : array[:1].size], [-1, *array.shape[1:]])


def fits_on_gpu(data: Data) -> bool:
    """Tells whether there is a GPU whose memory a data set may lie in."""
    size = sum(array.nbytes for array in tf.nest.flatten(data))
    return bool(tf.config.list_logical_devices("GPU")) and size <= RESIDENT_BYTES
