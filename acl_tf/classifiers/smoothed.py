"""Randomised smoothing: a classifier of images under noise, which is a function of seeds."""

import tensorflow as tf

from acl_tf.randomness import fold_in
from acl_tf.types import Classifier

# Uses of the noise; each has a stream of its own.
ATTACK, VOTE, SELECTION, ESTIMATION = range(4)
DRAWS_AT_ONCE = 256  # draws that pass the network together in a vote
PHILOX = 1
NUMBERS_OF_A_COUNT = 4  # random numbers that Philox makes for each value of its counter


class SmoothedClassifier:
    """Classifies an image by the outputs of a classifier for the image under Gaussian noise.

    Noisy images are not clipped to [0, 1]: certificates need noise that is Gaussian.

    Args:
        classifier: Function from images in [0, 1] to logits, in inference mode.
        sigma: Standard deviation of the noise, in pixels of [0, 1].
        samples: Number of draws of the noise per image.
        seed: Seed of the noise where no seeds are given.

    Call arguments:
        images: Images in [0, 1], of shape `(batch, height, width, channels)`.

    Call returns: the logarithm of the mean softmax over fresh draws, of shape `(batch, classes)`. Every call draws new
    noise. It is differentiable; the gradient keeps all draws of a batch in memory.

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
        # Each replica counts its own calls, because replicas cannot wait for each other inside the loop of an attack.
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
        """Returns the classifier for a batch, whose noise depends on the images' indices, not on their places in it.

        The noise of an image is a function of `seed`, its index, and the number of calls of the returned classifier.

        Args:
            indices: Indices of the images in the data set, integers of shape `(batch,)`.
        """
        self.calls.assign(0)
        return lambda images: self._fresh(images, indices)

    def seeded(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Returns the logarithm of the mean softmax over noise from given seeds, of shape `(batch, classes)`.

        Args:
            images: Images in [0, 1], of shape `(batch, height, width, channels)`.
            seeds: Seed of each image, int32 of shape `(batch, 2)`.
        """
        shape = images.shape[1:]
        noise = tf.map_fn(
            lambda seed: gaussian_noise(seed, 0, self.samples, shape),
            seeds,
            fn_output_signature=tf.TensorSpec((self.samples, *shape), tf.float32),
        )
        noisy = images[:, tf.newaxis] + self.sigma * tf.cast(noise, images.dtype)
        logits = self.classifier(tf.reshape(noisy, (-1, *shape)))
        logits = (
            tf.cast(logits, tf.float32) if logits.dtype.size < 4 else logits
        )  # they are float16 or bfloat16 in mixed precision
        each = tf.reshape(tf.nn.log_softmax(logits), (-1, self.samples, logits.shape[-1]))
        return tf.reduce_logsumexp(each, axis=1) - tf.math.log(tf.cast(self.samples, each.dtype))

    def vote(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Returns the number of draws that are classified as each class: int32 of shape `(batch, classes)`.

        Args:
            images: Images in [0, 1], of shape `(batch, height, width, channels)`.
            seeds: Seed of each image, int32 of shape `(batch, 2)`.
        """
        classes = self.classifier(images[:1]).shape[-1]  # in a graph only the shape is computed
        at_once = min(self.samples, DRAWS_AT_ONCE)
        return tf.map_fn(
            lambda one: self.count(one[0], one[1], 0, self.samples, at_once, classes),
            (images, seeds),
            parallel_iterations=1,
            fn_output_signature=tf.TensorSpec([classes], tf.int32),
        )

    def decide(self, images: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        """Returns the votes in place of logits; their noise is a function of `seed` and of the image's index.

        Args:
            images: Images in [0, 1], of shape `(batch, height, width, channels)`.
            indices: Indices of the images in the data set, integers of shape `(batch,)`.
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
        """Counts the votes of consecutive draws, in a loop of the graph.

        Args:
            image: Image in [0, 1], of shape `(height, width, channels)`.
            seed: Seed of all draws of the image, int32 of shape `(2,)`.
            first: Number of the first draw.
            end: Number of the last draw plus 1.
            at_once: Number of draws that pass the network together; it does not change the result.
            classes: Number of classes.

        Returns:
            Votes for each class, int32 of shape `(classes,)`; their sum is `end - first`.
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
        """Returns the vote of each image, one-hot int32 of shape `(batch, classes)`; logits with NaN give no vote."""
        broken = tf.reduce_any(tf.math.is_nan(logits), axis=-1)
        return tf.one_hot(tf.where(broken, tf.constant(-1, tf.int64), tf.argmax(logits, -1)), classes, dtype=tf.int32)

    def seeds(self, use: int, indices: tf.Tensor) -> tf.Tensor:
        """Returns the seeds of images for a use, int32 of shape `(batch, 2)`, from `seed` and the images' indices."""
        return seeds_of_images(noise_seed(self.seed, use), indices)

    def _fresh(self, images: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        self.calls.assign_add(1)
        seed = fold_in(noise_seed(self.seed, ATTACK), self.calls.read_value())
        return self.seeded(images, seeds_of_images(seed, indices))


def noise_seed(seed: int, use: int) -> tf.Tensor:
    """Returns the seed from which the seeds of all images for a use are derived, int32 of shape `(2,)`."""
    return fold_in(tf.constant([seed, 1], tf.int32), use)  # (seed, 0) gives the starts of attacks


def seeds_of_images(seed: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Returns `fold_in(seed, index)` for each index, int32 of shape `(batch, 2)`, without a loop."""
    indices = tf.cast(indices, tf.int32)
    return tf.stack([tf.fill(tf.shape(indices), fold_in(seed, 0)[0]), indices], axis=1)


def gaussian_noise(
    seed: tf.Tensor, first: tf.Tensor | int, draws: int, shape: tf.TensorShape | tuple[int, ...]
) -> tf.Tensor:
    """Returns standard normal noise, in which each draw is a function only of the seed and of its number.

    Args:
        seed: Seed of the noise, int32 of shape `(2,)`.
        first: Number of the first draw.
        draws: Number of draws.
        shape: Shape of a draw.

    Returns:
        Noise, float32 of shape `(draws, *shape)`.
    """
    values = tf.TensorShape(shape).num_elements()
    counts = -(-values // NUMBERS_OF_A_COUNT)
    # The counter of the generator starts where earlier draws would have left it, so one operation makes all draws.
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    begin = counter + tf.stack([tf.cast(first, tf.uint64) * tf.constant(counts, tf.uint64), tf.constant(0, tf.uint64)])
    noise = tf.raw_ops.StatelessRandomNormalV2(
        shape=[draws, NUMBERS_OF_A_COUNT * counts], key=key, counter=begin, alg=PHILOX
    )
    return tf.reshape(noise[:, :values], (draws, *shape))
