"""SimCLR's augmentation of a whole batch: random resized crop, flip, colour jitter, greyscale.

Everything is a batched TensorFlow operation of static shape, so it runs inside a training step, on any device and under
XLA. Randomness is a function of the seed and of an image's index in the global batch, and of nothing else.
"""

import math
import numbers
from collections.abc import Callable, Sequence

import tensorflow as tf

from acl_tf.data.color import JITTER_ORDERS, color_jitter, per_image, random_grayscale

CROP_ATTEMPTS = 10
STAGES = ("crop", "flip", "jitter", "grayscale")
INTERPOLATIONS = ("bicubic", "bilinear")


class Augmentation:
    """Random views of a batch of images, as in SimCLR.

    A view is a random resized crop, a horizontal flip with probability 1/2, colour jitter in random order, and
    greyscale, with the distributions of torchvision and the antialiased interpolation of Pillow. The defaults are those
    of adversarial contrastive learning (ACL).

    Args:
        image_size: Height and width of the views in pixels; `None` keeps the size of the (square) input.
        crop_scale: Smallest and largest area of a crop, as fractions of the image's area.
        crop_ratio: Smallest and largest aspect ratio (width / height) of a crop; drawn log-uniformly.
        flip: Whether half of the views are mirrored.
        brightness: Factors are uniform in `[max(0, 1 - brightness), 1 + brightness]`.
        contrast: Range of the contrast's factors, like `brightness`.
        saturation: Range of the saturation's factors, like `brightness`.
        hue: Shifts are uniform in `[-hue, hue]`, in turns of the colour wheel; at most 0.5.
        jitter_probability: Probability that a view is jittered.
        grayscale_probability: Probability that a view is made grey.
        stages: Order of the four stages, first to last. RoCL's is `("jitter", "grayscale", "flip", "crop")`.
        interpolation: `"bicubic"` or `"bilinear"`: that of the resized crop.

    Example:

    ```python
    augmentation = Augmentation()
    view_i, view_j = augmentation.two_views(images, seed=(0, step))
    ```

    Reference:
        - [Chen et al., 2020](https://arxiv.org/abs/2002.05709), A Simple Framework for Contrastive Learning of Visual
          Representations, appendix A
        - [Jiang et al., 2020](https://arxiv.org/abs/2010.13337), Robust Pre-Training by Adversarial Contrastive
          Learning
    """

    def __init__(
        self,
        image_size: int | None = None,
        crop_scale: tuple[float, float] = (0.1, 1.0),
        crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: bool = True,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        jitter_probability: float = 0.8,
        grayscale_probability: float = 0.2,
        stages: Sequence[str] = STAGES,
        interpolation: str = "bicubic",
    ) -> None:
        if image_size is not None and not (isinstance(image_size, numbers.Integral) and image_size > 0):
            raise ValueError(f"`image_size` must be a positive integer or None. Received: image_size={image_size!r}")
        _check_range("crop_scale", crop_scale, upper=1.0)
        _check_range("crop_ratio", crop_ratio, upper=math.inf)
        _check_between("brightness", brightness, math.inf)
        _check_between("contrast", contrast, math.inf)
        _check_between("saturation", saturation, math.inf)
        _check_between("hue", hue, 0.5)
        _check_between("jitter_probability", jitter_probability, 1.0)
        _check_between("grayscale_probability", grayscale_probability, 1.0)
        if sorted(stages) != sorted(STAGES):
            raise ValueError(f"`stages` must be {STAGES} in any order. Received: stages={stages!r}")
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f'`interpolation` must be "bicubic" or "bilinear". Received: interpolation={interpolation!r}'
            )
        self.image_size = image_size
        self.crop_scale = crop_scale
        self.crop_ratio = crop_ratio
        self.flip = flip
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.jitter_probability = jitter_probability
        self.grayscale_probability = grayscale_probability
        self.stages = tuple(stages)
        self.interpolation = interpolation

    def __call__(
        self,
        images: tf.Tensor,
        seed: tf.Tensor,
        offset: int | tf.Tensor = 0,
        total: int | tf.Tensor | None = None,
        strength: float | tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Returns one random view of each image.

        Args:
            images: uint8 `(batch, height, width, 3)`; height and width must be static.
            seed: Integers `(2,)`, as for `tf.random.stateless_uniform`.
            offset: Index of the first image in the global batch. At most `total - batch`.
            total: Images in the global batch; `batch` by default. Image `k` gets the parameters of element
                `offset + k` of a draw of `total`, so a shard gets what the whole batch would give it. Under XLA a
                Python integer.
            strength: Scalar in [0, 1] that scales the magnitudes of the jitter, its probability and that of greyscale,
                and the range of the areas of the crops: the smallest is `upper - (upper - lower) * strength`. A tensor
                may change from step to step. None is 1.

        Returns:
            float32 `(batch, image_size, image_size, 3)` in [0, 1].

        Raises:
            ValueError: If `images` is not a batch of RGB uint8 images, or is rectangular while `image_size` is None.

        Reference for `strength`: Luo et al., "Rethinking the Effect of Data Augmentation in Adversarial Contrastive
        Learning" (DynACL), ICLR 2023.
        """
        images = tf.convert_to_tensor(images)
        return self._apply(images, self._parameters(images, seed, offset, total, strength))

    def two_views(
        self,
        images: tf.Tensor,
        seed: tf.Tensor,
        offset: int | tf.Tensor = 0,
        total: int | tf.Tensor | None = None,
        strength: float | tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns two independent random views of each image; arguments and errors as of `views`."""
        view_i, view_j = self.views(images, seed, 2, offset, total, strength)
        return view_i, view_j

    def views(
        self,
        images: tf.Tensor,
        seed: tf.Tensor,
        count: int,
        offset: int | tf.Tensor = 0,
        total: int | tf.Tensor | None = None,
        strength: float | tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, ...]:
        """Returns independent random views of each image.

        Args:
            images: uint8 `(batch, height, width, 3)`; height and width must be static.
            seed: Integers `(2,)`; view `v` (from 0) is that of a call with `stateless_fold_in(seed, v)`, whatever the
                number of views.
            count: Number of views; positive.
            offset: Index of the first image in the global batch.
            total: Number of images in the global batch; `batch` by default.
            strength: Strength of the augmentation, as a call takes it.

        Returns:
            `count` tensors, float32 `(batch, image_size, image_size, 3)` in [0, 1].

        Raises:
            ValueError: As a call, and if `count` is not positive.
        """
        if count < 1:
            raise ValueError(f"`count` must be positive. Received: count={count}")
        images = tf.convert_to_tensor(images)
        seeds = [tf.random.experimental.stateless_fold_in(seed, view, alg="philox") for view in range(count)]
        drawn = [self._parameters(images, own, offset, total, strength) for own in seeds]
        joined = {name: tf.concat([parameters[name] for parameters in drawn], axis=0) for name in drawn[0]}
        # One batch of all views: fewer operations, each large enough for all cores.
        return tuple(tf.split(self._apply(tf.concat([images] * count, axis=0), joined), count))

    def _parameters(
        self,
        images: tf.Tensor,
        seed: tf.Tensor,
        offset: int | tf.Tensor,
        total: int | tf.Tensor | None,
        strength: float | tf.Tensor | None = None,
    ) -> dict[str, tf.Tensor]:
        """Draws the parameters of the global batch and returns those of `images`."""
        self._check_images(images)
        batch, height, width, _ = images.shape
        batch = tf.shape(images)[0] if batch is None else batch
        total = batch if total is None else total
        # One row an image and always the same columns, so that switching one operation off leaves the others' draws.
        crop_columns = 2 * CROP_ATTEMPTS + 2
        uniform = _stateless_uniform((total, crop_columns + 8), seed)
        crop, others = uniform[:, :crop_columns], tf.unstack(uniform[:, crop_columns:], axis=1)
        brightness, contrast, saturation, hue, order, flip, jitter, grayscale = others
        # In double precision like Python's numbers, so that a tensor 1 gives what no strength gives, to the bit.
        s = 1.0 if strength is None else tf.cast(tf.convert_to_tensor(strength, dtype_hint=tf.float64), tf.float64)
        smallest, largest = self.crop_scale
        crop_scale = (smallest * s + largest * (1.0 - s), largest)
        parameters = {
            "boxes": random_resized_crop_boxes(crop, height, width, crop_scale, self.crop_ratio),
            "flip": flip < 0.5,
            "brightness": _jitter_factor(brightness, self.brightness * s),
            "contrast": _jitter_factor(contrast, self.contrast * s),
            "saturation": _jitter_factor(saturation, self.saturation * s),
            "hue": tf.cast(self.hue * s, tf.float32) * (2.0 * hue - 1.0),
            "order": tf.gather(JITTER_ORDERS, tf.cast(order * len(JITTER_ORDERS), tf.int32)),
            "jitter": jitter < tf.cast(self.jitter_probability * s, tf.float32),
            "grayscale": grayscale < tf.cast(self.grayscale_probability * s, tf.float32),
        }
        # Sliced only now: vectorised kernels may round the last elements of a shard differently from the whole batch.
        return {name: _rows(values, offset, batch) for name, values in parameters.items()}

    def _apply(self, images: tf.Tensor, parameters: dict[str, tf.Tensor]) -> tf.Tensor:
        """Applies parameters of leading dimension `batch`; work that the arguments switch off is not in the graph."""
        crop = self.stages.index("crop")
        mirrored = self.stages[crop + 1 :][:1] == ("flip",)  # by the resampling, which costs nothing
        views = images if crop == 0 else tf.cast(images, tf.float32) / 255.0
        for stage in self.stages:
            if stage == "crop":
                flips = parameters["flip"] if self.flip and mirrored else None
                size = self.image_size or images.shape[1]
                views = resize_crops(views, parameters["boxes"], size, flips, self.interpolation)
            elif stage == "flip" and self.flip and not mirrored:
                views = tf.where(per_image(parameters["flip"]), views[:, :, ::-1], views)
            elif stage == "jitter":
                views = self._jitter(views, parameters)
            elif stage == "grayscale" and self.grayscale_probability:
                views = random_grayscale(views, parameters["grayscale"])
        return views

    def _jitter(self, views: tf.Tensor, parameters: dict[str, tf.Tensor]) -> tf.Tensor:
        if not self.jitter_probability or not any((self.brightness, self.contrast, self.saturation, self.hue)):
            return views
        jittered = color_jitter(
            views, *(parameters[name] for name in ("brightness", "contrast", "saturation", "hue", "order"))
        )
        return tf.where(per_image(parameters["jitter"]), jittered, views)

    def _check_images(self, images: tf.Tensor) -> None:
        if images.dtype != tf.uint8 or images.shape.rank != 4 or images.shape[-1] != 3 or None in images.shape[1:]:
            raise ValueError(
                "`images` must be uint8 of shape (batch, height, width, 3) with static height and width. "
                f"Received: images.dtype={images.dtype.name}, images.shape={images.shape}"
            )
        if self.image_size is None and images.shape[1] != images.shape[2]:
            raise ValueError(
                "`image_size` must be given for images that are not square. "
                f"Received: image_size=None, images.shape={images.shape}"
            )


def random_resized_crop_boxes(
    uniform: tf.Tensor,
    height: int,
    width: int,
    scale: tuple[float | tf.Tensor, float | tf.Tensor],
    ratio: tuple[float, float],
) -> tf.Tensor:
    """Returns the boxes of torchvision's `RandomResizedCrop`.

    Ten boxes of random area and aspect ratio are drawn and the first that fits is taken; where none does, the largest
    central box whose aspect ratio is within `ratio`.

    Args:
        uniform: float32 `(batch, 22)` uniform in [0, 1): ten areas, ten aspect ratios, and the position (y, x).
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        scale: Smallest and largest area, as fractions of the image's area.
        ratio: Smallest and largest aspect ratio (width / height).

    Returns:
        int32 `(batch, 4)`: top, left, height and width of each box in pixels.
    """
    areas, log_ratios, position = tf.split(uniform, [CROP_ATTEMPTS, CROP_ATTEMPTS, 2], axis=1)
    areas = height * width * _interpolate(areas, *scale)
    ratios = tf.exp(_interpolate(log_ratios, *(math.log(limit) for limit in ratio)))
    sizes = tf.stack([tf.round(tf.sqrt(areas / ratios)), tf.round(tf.sqrt(areas * ratios))], axis=-1)
    room = tf.constant([height, width], tf.float32) - sizes
    fits = tf.reduce_all((sizes > 0) & (room >= 0), axis=-1)
    attempts = tf.concat([tf.floor(position[:, tf.newaxis] * (room + 1)), sizes], axis=-1)
    # Earlier attempts score higher; the largest score is that of the first box that fits.
    first = tf.argmax(tf.where(fits, tf.range(CROP_ATTEMPTS, 0, -1), 0), axis=1)
    boxes = tf.gather(attempts, first, batch_dims=1)
    fallback = tf.constant(_central_box(height, width, ratio), tf.float32)
    return tf.cast(tf.where(tf.reduce_any(fits, axis=1, keepdims=True), boxes, fallback), tf.int32)


def _central_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """Returns top, left, height and width of the largest central box whose aspect ratio is within `ratio`."""
    box_height = min(height, round(width / ratio[0]))
    box_width = min(width, round(height * ratio[1]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


def resize_crops(
    images: tf.Tensor,
    boxes: tf.Tensor,
    size: int,
    mirrored: tf.Tensor | None = None,
    interpolation: str = "bicubic",
) -> tf.Tensor:
    """Cuts one box out of each image and resizes it as Pillow does, antialiased, without rounding to 8 bits.

    The horizontal pass comes first, as in every Pillow before 13, which starts with the vertical one where that is
    cheaper. The order matters only where bicubic overshoots, because each pass saturates.

    Args:
        images: `(batch, height, width, channels)`: uint8, or float32 in [0, 1].
        boxes: int32 `(batch, 4)`: top, left, height and width in pixels.
        size: Height and width of the result in pixels.
        mirrored: Boolean `(batch,)`: which results are flipped horizontally. `None`: none of them.
        interpolation: `"bicubic"` or `"bilinear"`.

    Returns:
        float32 `(batch, size, size, channels)` in [0, 1].
    """
    _, height, width, _ = images.shape
    top, left, box_height, box_width = tf.unstack(tf.cast(boxes, tf.float32), axis=1)
    kernel = _bicubic if interpolation == "bicubic" else _bilinear
    rows = _resampling_weights(kernel, top, box_height, size, height)
    columns = _resampling_weights(kernel, left, box_width, size, width, mirrored)
    # Bytes in units of 1/255, which tensor cores represent exactly: an identity crop stays exact on every device.
    white = 255.0 if tf.as_dtype(images.dtype) == tf.uint8 else 1.0
    pixels = tf.cast(images, tf.float32)
    pixels = tf.einsum("bhwc,bxw->bhcx", pixels, columns)
    pixels = tf.clip_by_value(pixels, 0.0, white)
    pixels = tf.einsum("byh,bhcx->byxc", rows, pixels)
    return tf.clip_by_value(pixels / white, 0.0, 1.0)


def _resampling_weights(
    kernel: Callable[[tf.Tensor], tf.Tensor],
    start: tf.Tensor,
    length: tf.Tensor,
    output_size: int,
    input_size: int,
    mirrored: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns what each input pixel contributes to each output pixel along one axis.

    Args:
        kernel: Weights by the distance from the output pixel's centre.
        start: float32 `(batch,)`: first pixel of the crop.
        length: float32 `(batch,)`: pixels of the crop.
        output_size: Pixels of the result.
        input_size: Pixels of the image.
        mirrored: Boolean `(batch,)`: which results run backwards.

    Returns:
        float32 `(batch, output_size, input_size)`; each row sums to 1 and is 0 outside the crop.
    """
    start, length = start[:, tf.newaxis], length[:, tf.newaxis]
    step = length / output_size
    outputs = tf.range(output_size, dtype=tf.float32)[tf.newaxis]
    if mirrored is not None:
        outputs = tf.where(mirrored[:, tf.newaxis], output_size - 1 - outputs, outputs)
    centers = start + (outputs + 0.5) * step
    inputs = tf.range(input_size, dtype=tf.float32)[tf.newaxis] + 0.5
    distances = tf.abs(inputs[:, tf.newaxis] - centers[..., tf.newaxis]) / tf.maximum(step, 1.0)[..., tf.newaxis]
    inside = tf.cast((inputs > start) & (inputs < start + length), tf.float32)
    weights = kernel(distances) * inside[:, tf.newaxis]
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def _bicubic(distances: tf.Tensor) -> tf.Tensor:
    """Returns Keys' cubic convolution kernel with a = -0.5, for distances >= 0 in pixels."""
    # Both pieces are 0 at 1, and the outer one at 2, so clipping their arguments selects between them.
    inner = tf.minimum(distances, 1.0)
    outer = tf.clip_by_value(distances, 1.0, 2.0)
    return (1.5 * inner - 2.5) * inner * inner + 1.0 - 0.5 * (((outer - 5.0) * outer + 8.0) * outer - 4.0)


def _bilinear(distances: tf.Tensor) -> tf.Tensor:
    """Returns the triangle kernel, for distances >= 0 in pixels."""
    return tf.maximum(1.0 - distances, 0.0)


def _stateless_uniform(shape: tuple[int | tf.Tensor, ...], seed: tf.Tensor) -> tf.Tensor:
    """Returns float32 uniform in [0, 1), the same numbers with and without XLA."""
    # XLA makes other floats of the same random bits than TensorFlow does, so the floats are made here.
    bits = tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.int32, alg="philox")
    return tf.cast(tf.bitwise.bitwise_and(bits, 2**23 - 1), tf.float32) * 2.0**-23


def _interpolate(uniform: tf.Tensor, lower: float | tf.Tensor, upper: float | tf.Tensor) -> tf.Tensor:
    """Returns the points of [lower, upper] that are a share `uniform` of the way up; the limits in double precision."""
    return tf.cast(lower, tf.float32) + tf.cast(upper - lower, tf.float32) * uniform


def _jitter_factor(uniform: tf.Tensor, magnitude: float | tf.Tensor) -> tf.Tensor:
    lower = tf.maximum(tf.constant(0.0, tf.float64), 1.0 - magnitude)
    return _interpolate(uniform, lower, 1.0 + magnitude)


def _rows(values: tf.Tensor, offset: int | tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """Returns `values[offset : offset + count]`, of static shape even where `offset` is a tensor."""
    rest = values.shape[1:]
    return tf.slice(values, [offset] + [0] * len(rest), [count, *rest])


def _check_range(name: str, limits: tuple[float, float], upper: float) -> None:
    is_pair = isinstance(limits, (tuple, list)) and len(limits) == 2
    if not is_pair or not 0 < limits[0] <= limits[1] <= upper or math.isinf(limits[1]):
        bound = "" if math.isinf(upper) else f", at most {upper:g}"
        raise ValueError(f"`{name}` must be two positive numbers in ascending order{bound}. Received: {name}={limits}")


def _check_between(name: str, value: float, upper: float) -> None:
    if not 0 <= value <= upper or math.isinf(value):
        bound = "at least 0" if math.isinf(upper) else f"between 0 and {upper:g}"
        raise ValueError(f"`{name}` must be {bound}. Received: {name}={value}")
