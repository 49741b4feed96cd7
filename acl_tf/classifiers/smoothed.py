"""Randomised smoothing: a classifier of noisy images, whose noise is a function of seeds."""

import tensorflow as tf

from acl_tf.randomness import fold_in
from acl_tf.types import Classifier

# What noise is for; each use has a stream of its own.
ATTACK, VOTE, SELECTION, ESTIMATION = range(4)
DRAWS_AT_ONCE = 256  # that pass the network together in a vote
PHILOX = 1
NUMBERS_OF_A_COUNT = 4  # that Philox makes at once


class SmoothedClassifier:
    """Classifies an image by what a classifier says of it under Gaussian noise.

    Noisy images are not clipped to [0, 1]: certificates are about noise that is Gaussian.

    Args:
        classifier: From images in [0, 1] to logits, in inference mode.
        sigma: Standard deviation of the noise, in pixels of [0, 1].
        samples: Draws of the noise for an image.
        seed: Of what is drawn without seeds.

    Call arguments:
        images: In [0, 1], of shape `(batch, height, width, channels)`.

    Call returns: the logarithm of the mean softmax over fresh draws, of shape `(batch, classes)`. Another call draws
    other noise. Gradients pass; all draws of a batch are in memory then.

    Example:

    ```python
    smoothed = SmoothedClassifier(functools.partial(model, training=False), sigma=0.25)
    counts = smoothed.vote(images, smoothed.seeds(VOTE, indices))
    ```

    Raises:
        ValueError: If `sigma` or `samples` is not positive.

    Reference: Cohen et al., "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019, Eq. 1; Salman et
    al., "Provably Robust Deep Learning via Adversarially Trained Smoothed Classifiers", NeurIPS 2019, Eq. 5 (soft).
    """

    def __init__(self, classifier: Classifier, sigma: float, samples: int = 100, seed: int = 0) -> None:
        if not sigma > 0:
            raise ValueError(f"`sigma` must be positive. Received: sigma={sigma}")
        if samples < 1:
            raise ValueError(f"`samples` must be positive. Received: samples={samples}")
        self.classifier = classifier
        self.sigma = sigma
        self.samples = samples
        self.seed = seed
        # Each replica counts its own calls: inside the loop of an attack no replica can wait for another.
        self.calls = tf.Variable(
            0,
            trainable=False,
            dtype=tf.int64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return self._fresh(images, tf.range(tf.shape(images)[0]))

    def for_images(self, indices: tf.Tensor) -> Classifier:
        """Returns the same for a batch whose noise depends on which images they are, not on their place in it.

        The noise of an image is a function of `seed`, its index, and how often the returned classifier was called.

        Args:
            indices: Of the images, integers of shape `(batch,)`.
        """
        self.calls.assign(0)
        return lambda images: self._fresh(images, indices)

    def seeded(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Returns the logarithm of the mean softmax, of shape `(batch, classes)`, over noise that seeds determine.

        Args:
            images: In [0, 1], of shape `(batch, height, width, channels)`.
            seeds: int32 of shape `(batch, 2)`, one an image.
        """
        shape = images.shape[1:]
        noise = tf.map_fn(
            lambda seed: gaussian_noise(seed, 0, self.samples, shape),
            seeds,
            fn_output_signature=tf.TensorSpec((self.samples, *shape), tf.float32),
        )
        noisy = images[:, tf.newaxis] + self.sigma * tf.cast(noise, images.dtype)
        logits = self.classifier(tf.reshape(noisy, (-1, *shape)))
        logits = tf.cast(logits, tf.float32) if logits.dtype.size < 4 else logits  # halves, in mixed precision
        each = tf.reshape(tf.nn.log_softmax(logits), (-1, self.samples, logits.shape[-1]))
        return tf.reduce_logsumexp(each, axis=1) - tf.math.log(tf.cast(self.samples, each.dtype))

    def vote(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Returns how many draws are called each class: int32 of shape `(batch, classes)`.

        Args:
            images: In [0, 1], of shape `(batch, height, width, channels)`.
            seeds: int32 of shape `(batch, 2)`, one an image.
        """
        classes = self.classifier(images[:1]).shape[-1]  # in a graph nothing but the shape is computed
        at_once = min(self.samples, DRAWS_AT_ONCE)
        return tf.map_fn(
            lambda one: self.count(one[0], one[1], 0, self.samples, at_once, classes),
            (images, seeds),
            parallel_iterations=1,
            fn_output_signature=tf.TensorSpec([classes], tf.int32),
        )

    def decide(self, images: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        """Returns the votes as numbers that stand for logits; their noise is a function of `seed` and of the image.

        Args:
            images: In [0, 1], of shape `(batch, height, width, channels)`.
            indices: Of the images, integers of shape `(batch,)`.
        """
        return tf.cast(self.vote(images, self.seeds(VOTE, indices)), images.dtype)

    def count(
        self,
        image: tf.Tensor,
        seed: tf.Tensor,
        first: tf.Tensor | int,
        end: tf.Tensor | int,
        at_once: int,
        classes: int,
    ) -> tf.Tensor:
        """Counts the votes of some draws, in a loop of the graph.

        Args:
            image: In [0, 1], of shape `(height, width, channels)`.
            seed: int32 of shape `(2,)`, of all draws of the image.
            first: Number of the first draw.
            end: Number after the last one.
            at_once: Draws that pass the network together; it does not change the result.
            classes: How many there are.

        Returns:
            int32 of shape `(classes,)`, whose sum is `end - first`.
        """

        def body(done: tf.Tensor, counts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            noise = tf.cast(gaussian_noise(seed, done, at_once, image.shape), image.dtype)
            votes = self._votes(self.classifier(image + self.sigma * noise), classes)
            counted = done + tf.range(at_once) < end  # the last draws fill up the batch, so that it has one shape
            return done + at_once, counts + tf.reduce_sum(tf.where(counted[:, tf.newaxis], votes, 0), axis=0)

        state = tf.convert_to_tensor(first, tf.int32), tf.zeros([classes], tf.int32)
        return tf.while_loop(lambda done, _: done < end, body, state, parallel_iterations=1)[1]

    @staticmethod
    def _votes(logits: tf.Tensor, classes: int) -> tf.Tensor:
        """Returns a 1 for the class of each image, int32 of shape `(batch, classes)`; NaN has no class, and no vote."""
        broken = tf.reduce_any(tf.math.is_nan(logits), axis=-1)
        return tf.one_hot(tf.where(broken, tf.constant(-1, tf.int64), tf.argmax(logits, -1)), classes, dtype=tf.int32)

    def seeds(self, use: int, indices: tf.Tensor) -> tf.Tensor:
        """Returns the seeds of images for a use, int32 of shape `(batch, 2)`: functions of `seed` and of the index."""
        return seeds_of_images(noise_seed(self.seed, use), indices)

    def _fresh(self, images: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        self.calls.assign_add(1)
        seed = fold_in(noise_seed(self.seed, ATTACK), self.calls.read_value())
        return self.seeded(images, seeds_of_images(seed, indices))


def noise_seed(seed: int, use: int) -> tf.Tensor:
    """Returns what the seeds of all images come from: of noise for a use, int32 of shape `(2,)`."""
    return fold_in(tf.constant([seed, 1], tf.int32), use)  # the starts of attacks come from (seed, 0)


def seeds_of_images(seed: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Returns `fold_in(seed, index)` of each index, int32 of shape `(batch, 2)`, without a loop."""
    indices = tf.cast(indices, tf.int32)
    return tf.stack([tf.fill(tf.shape(indices), fold_in(seed, 0)[0]), indices], axis=1)


def gaussian_noise(
    seed: tf.Tensor, first: tf.Tensor | int, draws: int, shape: tf.TensorShape | tuple[int, ...]
) -> tf.Tensor:
    """Returns standard normal noise; each draw is a function of the seed and of its number, however many are asked for.

    Args:
        seed: int32 of shape `(2,)`.
        first: Number of the first draw.
        draws: How many.
        shape: Of a draw.

    Returns:
        float32 of shape `(draws, *shape)`.
    """
    values = tf.TensorShape(shape).num_elements()
    counts = -(-values // NUMBERS_OF_A_COUNT)
    # The generator's counter begins where the draws before would have left it: one operation makes them all.
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    begin = counter + tf.stack([tf.cast(first, tf.uint64) * tf.constant(counts, tf.uint64), tf.constant(0, tf.uint64)])
    noise = tf.raw_ops.StatelessRandomNormalV2(
        shape=[draws, NUMBERS_OF_A_COUNT * counts], key=key, counter=begin, alg=PHILOX
    )
    return tf.reshape(noise[:, :values], (draws, *shape))
