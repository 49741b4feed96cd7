"""A counter of the votes of very many noisy copies of an image, on the devices of all workers."""

import time
from signal import Signals

import numpy as np
import tensorflow as tf

from acl_tf.classifiers.smoothed import SmoothedClassifier
from acl_tf.errors import Interrupted
from acl_tf.training.interruption import Interruption
from acl_tf.training.workers import Workers

SECONDS_OF_A_CALL = 1.0  # the time within which a signal is noticed


class VoteCounter:
    """Counts votes in calls of about a second; the counts stay on the device between calls.

    Args:
        smoothed: Smoothed classifier that votes.
        classes: Number of classes.
        at_once: Number of draws that pass the network together on each device; it does not change the counts.
        workers: Workers whose replicas share the draws; None: this process, on one device.
        interruption: Signals that ask the process to stop; None: they are not noticed.
    """

    def __init__(
        self,
        smoothed: SmoothedClassifier,
        classes: int,
        at_once: int,
        workers: Workers | None = None,
        interruption: Interruption | None = None,
    ) -> None:
        self.smoothed = smoothed
        self.classes = classes
        self.at_once = at_once
        self.workers = workers or Workers()
        self.strategy = self.workers.strategy
        self.interruption = interruption
        self.batches = 1  # for each replica in a call
        self.compiled = tf.function(self._add)

    def __call__(self, image: np.ndarray, index: int, use: int, draws: int) -> np.ndarray:
        """Returns the number of draws that are classified as each class, integers of shape `(classes,)`.

        Args:
            image: Image, float32 in [0, 1], of shape `(height, width, 3)`.
            index: Index of the image in the data set; with the seed it determines the noise.
            use: Use of the noise, such as `ESTIMATION`: each has its own.
            draws: Number of draws.

        Raises:
            Interrupted: If a signal asked the process to stop.
        """
        pixels, counts, done = tf.constant(image), tf.zeros([self.classes], tf.int32), 0
        (seed,) = self.smoothed.seeds(use, tf.constant([index]))
        with self.workers.watched():
            while done < draws:
                begin = time.perf_counter()
                end = min(done + self.batches * self.at_once * self.workers.replicas, draws)
                arguments = pixels, seed, tf.constant(done), tf.constant(end), counts
                # Calls the graph: TensorFlow would warn that the method of several counters is traced too often.
                counts = self.compiled.get_concrete_function(*arguments)(*arguments)
                done = end
                self._adjust(time.perf_counter() - begin)
            return counts.numpy()

    def _adjust(self, seconds: float) -> None:
        """Stops after a signal, and doubles or halves the next call if this one was short or long, in all workers."""
        signal = (self.interruption.signal or 0) if self.interruption else 0
        signal, milliseconds = self.workers.gather([signal, round(1000 * seconds)]).max(axis=0)
        if signal:
            raise Interrupted(
                f"Interrupted by {Signals(signal).name}; the images that are done are kept. Go on by the same command "
                "with --resume.",
                int(signal),
            )
        if milliseconds < 500 * SECONDS_OF_A_CALL:
            self.batches *= 2
        elif milliseconds > 2000 * SECONDS_OF_A_CALL:
            self.batches = max(1, self.batches // 2)

    @tf.autograph.experimental.do_not_convert
    def _add(self, image: tf.Tensor, seed: tf.Tensor, first: tf.Tensor, end: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
        """Returns the counts plus the votes of the draws from `first` to before `end`, which the replicas share."""

        def of_replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            share = -(-(end - first) // context.num_replicas_in_sync)
            begin = first + tf.cast(context.replica_id_in_sync_group, tf.int32) * share
            return self.smoothed.count(image, seed, begin, tf.minimum(begin + share, end), self.at_once, self.classes)

        return counts + self.strategy.reduce("SUM", self.strategy.run(of_replica), axis=None)
