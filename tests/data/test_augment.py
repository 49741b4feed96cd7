import inspect
import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from acl_tf.data import augment, color
from acl_tf.data.augment import Augmentation
from tests.conftest import shared
from tests.reference import augment as reference

NOTHING = {
    "crop_scale": (1.0, 1.0),
    "crop_ratio": (1.0, 1.0),
    "flip": False,
    "jitter_probability": 0.0,
    "grayscale_probability": 0.0,
}
SEED = (3, 14)


def noise(batch: int, height: int = 16, width: int | None = None) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (batch, height, width or height, 3), np.uint8)


def assert_share(selected: np.ndarray, probability: float) -> None:
    """The share is within 4 standard deviations of a binomial's."""
    assert abs(selected.mean() - probability) < 4 * math.sqrt(probability * (1 - probability) / len(selected))


def same_images(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.all(np.abs(left - right) < 1e-6, axis=(1, 2, 3))


# Random resized crop


def area_ratio_and_coordinates(boxes: np.ndarray) -> list[np.ndarray]:
    boxes = boxes.astype(np.float64)
    return [boxes[:, 2] * boxes[:, 3], boxes[:, 3] / boxes[:, 2], *boxes.T]


@pytest.mark.parametrize("height, width, scale", [(32, 32, (0.1, 1.0)), (96, 96, (0.08, 0.3)), (24, 40, (0.5, 1.0))])
def test_boxes_are_distributed_as_in_torchvision(height, width, scale):
    ratio = (3 / 4, 4 / 3)
    random = np.random.default_rng(0)
    boxes = augment.random_resized_crop_boxes(random.random((5_000, 22), np.float32), height, width, scale, ratio)
    expected = np.array([reference.random_resized_crop_box(random, height, width, scale, ratio) for _ in boxes])

    top, left, box_height, box_width = boxes.numpy().T
    assert np.all((top >= 0) & (left >= 0) & (box_height > 0) & (box_width > 0))
    assert np.all((top + box_height <= height) & (left + box_width <= width))
    # Rounding moves each side by half a pixel at most.
    assert np.all((box_height + 0.5) * (box_width + 0.5) >= scale[0] * height * width)
    assert np.all((box_height - 0.5) * (box_width - 0.5) <= scale[1] * height * width)
    assert np.all((box_width + 0.5) / (box_height - 0.5) >= ratio[0])
    assert np.all((box_width - 0.5) / (box_height + 0.5) <= ratio[1])
    for ours, theirs in zip(area_ratio_and_coordinates(boxes.numpy()), area_ratio_and_coordinates(expected)):
        tolerance = 5 * theirs.std() * math.sqrt(2 / len(boxes))
        assert abs(ours.mean() - theirs.mean()) < tolerance
        assert abs(ours.std() - theirs.std()) < tolerance


@pytest.mark.parametrize("height, width", [(10, 100), (100, 10), (30, 30)])
def test_boxes_fall_back_to_the_centre(height, width):
    scale, ratio = (0.9, 1.0), (5 / 4, 4 / 3)
    uniform = np.random.default_rng(0).random((50, 22), np.float32)
    boxes = augment.random_resized_crop_boxes(uniform, height, width, scale, ratio)
    expected = reference.random_resized_crop_box(np.random.default_rng(0), height, width, scale, ratio)
    np.testing.assert_array_equal(boxes, [expected] * 50)


def test_boxes_take_the_first_attempt_that_fits():
    # Some attempts at an aspect ratio that does not fit, then one of a quarter of the area, then smaller ones.
    for misfits in range(10):
        areas = [1.0] * misfits + [0.25] + [0.05] * (9 - misfits)
        ratios = [0.999] * misfits + [0.0] * (10 - misfits)
        box = augment.random_resized_crop_boxes(
            tf.constant([[*areas, *ratios, 0.999, 0.0]]), 32, 32, (1e-6, 1.0), (1, 4)
        )
        np.testing.assert_array_equal(box, [[16, 0, 16, 16]])


BOXES = [
    (0, 0, 1, 1),
    (0, 0, 96, 96),
    (5, 9, 60, 81),
    (30, 0, 32, 32),
    (80, 71, 7, 25),
    (13, 2, 83, 40),
    (95, 0, 1, 96),
]


@pytest.mark.parametrize("interpolation", augment.INTERPOLATIONS)
@pytest.mark.parametrize("size", [16, 32, 224])
def test_resize_matches_pillow(size, interpolation):
    images = noise(len(BOXES), 96)
    crops = augment.resize_crops(images, BOXES, size, interpolation=interpolation).numpy()
    for image, box, crop in zip(images, BOXES, crops):
        unrounded = reference.pillow_resize_crop_unrounded(image, box, size, interpolation)
        np.testing.assert_allclose(crop, unrounded, atol=2e-5)
        np.testing.assert_allclose(crop, reference.pillow_resize_crop(image, box, size, interpolation), atol=1.5 / 255)


@pytest.mark.parametrize("interpolation", augment.INTERPOLATIONS)
def test_pixels_are_resized_as_bytes_are(interpolation):
    images = noise(len(BOXES), 96)
    pixels = tf.constant(images, tf.float32) / 255.0
    np.testing.assert_allclose(
        augment.resize_crops(pixels, BOXES, 32, interpolation=interpolation),
        augment.resize_crops(images, BOXES, 32, interpolation=interpolation),
        atol=2e-6,
    )


def test_resize_mirrors():
    """To a few roundings: sums of products are added up in an order that depends on the column."""
    images = noise(4, 20, 30)
    boxes = [(0, 0, 20, 30), (1, 2, 3, 4), (5, 5, 15, 15), (0, 10, 20, 20)]
    plain = augment.resize_crops(images, boxes, 12)
    mirrored = augment.resize_crops(images, boxes, 12, mirrored=tf.constant([True, False, True, False]))
    np.testing.assert_allclose(mirrored[0::2], plain[0::2, :, ::-1], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(mirrored[1::2], plain[1::2])


# Colour


@pytest.mark.parametrize("order", color.JITTER_ORDERS)
def test_color_jitter_matches_the_oracle_in_every_order(order):
    images = noise(3, 4) / np.float32(255)
    images[:, 0, :3] = [[[0.0], [0.5], [1.0]]]  # Black, grey and white have no hue.
    parameters = np.array([[1.4, 0.6, 1.4, 0.1], [0.6, 1.4, 0.6, -0.1], [1.0, 1.3, 0.0, 0.5]], np.float32)
    jittered = color.color_jitter(images, *parameters.T, tf.constant([order] * 3))
    expected = [reference.color_jitter(image, values, order) for image, values in zip(images, parameters)]
    np.testing.assert_allclose(jittered, expected, atol=2e-6)


def test_each_image_has_its_own_order():
    images = noise(24, 4) / np.float32(255)
    parameters = np.array([1.4, 0.6, 1.4, 0.1], np.float32)
    jittered = color.color_jitter(images, *np.tile(parameters[:, np.newaxis], 24), tf.constant(color.JITTER_ORDERS))
    expected = [reference.color_jitter(image, parameters, order) for image, order in zip(images, color.JITTER_ORDERS)]
    np.testing.assert_allclose(jittered, expected, atol=2e-6)


def test_grayscale_makes_channels_equal_where_selected():
    images = noise(3) / np.float32(255)
    gray = color.random_grayscale(images, tf.constant([True, False, True]))
    expected = np.repeat(reference.grayscale(images)[..., np.newaxis], 3, axis=-1)
    np.testing.assert_allclose(gray[::2], expected[::2], atol=1e-6)
    np.testing.assert_array_equal(gray[1], images[1])


# Random parameters


def draw(augmentation: Augmentation, count: int, strength: float | None = None, size: int = 8) -> dict[str, np.ndarray]:
    parameters = augmentation._parameters(tf.zeros((count, size, size, 3), tf.uint8), SEED, 0, None, strength)
    return {name: values.numpy() for name, values in parameters.items()}


def test_all_orders_occur_equally_often():
    orders, counts = np.unique(draw(Augmentation(), 4_800)["order"], axis=0, return_counts=True)
    assert [tuple(order) for order in orders] == list(itertools.permutations(range(4)))
    assert np.all(np.abs(counts - 200) < 4.5 * math.sqrt(200))


@pytest.mark.parametrize(
    "name, strength, lower, upper",
    [
        ("brightness", 0.4, 0.6, 1.4),
        ("contrast", 0.2, 0.8, 1.2),
        ("saturation", 1.5, 0.0, 2.5),
        ("hue", 0.1, -0.1, 0.1),
    ],
)
def test_strengths_are_uniform_in_their_range(name, strength, lower, upper):
    values = np.sort(draw(Augmentation(**{name: strength}), 4_000)[name])
    assert lower <= values[0] and values[-1] <= upper
    # Kolmogorov-Smirnov: 1.95 / sqrt(n) is exceeded once in a thousand draws.
    np.testing.assert_allclose(
        (values - lower) / (upper - lower), np.linspace(0, 1, 4_000), atol=1.95 / math.sqrt(4_000)
    )


def test_parameters_are_independent():
    parameters = draw(Augmentation(), 4_000)
    hue_position = np.argmax(parameters.pop("order") == color.HUE, axis=1)
    columns = [*parameters.pop("boxes").T, hue_position, *parameters.values()]
    correlation = np.corrcoef(np.array(columns, np.float64))
    size_and_position = correlation[:4, :4]  # The larger a box, the less it can move.
    size_and_position[:] = np.eye(4)
    assert np.abs(correlation - np.eye(len(columns))).max() < 4.5 / math.sqrt(4_000)


def test_probabilities():
    images = noise(2_500, 4)
    pixels = images / np.float32(255)
    flipped = same_images(Augmentation(**{**NOTHING, "flip": True})(images, SEED).numpy(), pixels[:, :, ::-1])
    assert_share(flipped, 0.5)
    jittered = Augmentation(**{**NOTHING, "jitter_probability": 0.8})(images, SEED).numpy()
    assert_share(~same_images(jittered, pixels), 0.8)
    gray = Augmentation(**{**NOTHING, "grayscale_probability": 0.2})(images, SEED).numpy()
    assert_share(np.all(gray == gray[..., :1], axis=(1, 2, 3)), 0.2)


# Strength


@pytest.mark.parametrize("strength", [0.75, tf.constant(0.5), np.float32(0.25)])
@pytest.mark.parametrize(
    "name, magnitude, middle",
    [("brightness", 0.4, 1.0), ("contrast", 0.2, 1.0), ("saturation", 0.4, 1.0), ("hue", 0.1, 0.0)],
)
def test_the_strength_scales_the_range_of_the_jitter(name, magnitude, middle, strength):
    values = np.sort(draw(Augmentation(**{name: magnitude}), 4_000, strength)[name])
    lower, upper = middle - magnitude * float(strength), middle + magnitude * float(strength)
    assert lower - 1e-6 <= values[0] and values[-1] <= upper + 1e-6
    np.testing.assert_allclose(
        (values - lower) / (upper - lower), np.linspace(0, 1, 4_000), atol=1.95 / math.sqrt(4_000)
    )


def test_a_factor_stays_positive_at_any_strength():
    values = draw(Augmentation(brightness=1.6), 4_000, 0.75)["brightness"]
    assert 0.0 <= values.min() < 0.01 and 2.19 < values.max() <= 2.2


@pytest.mark.parametrize("strength", [0.05, 0.3, 1.0])
def test_the_strength_scales_the_probabilities_of_jitter_and_greyscale_only(strength):
    drawn, full = (draw(Augmentation(), 4_000, s) for s in (strength, None))
    assert_share(drawn["jitter"], 0.8 * strength)
    assert_share(drawn["grayscale"], 0.2 * strength)
    np.testing.assert_array_equal(drawn["flip"], full["flip"])
    np.testing.assert_array_equal(drawn["order"], full["order"])


@pytest.mark.parametrize("strength", [0.2, 0.6, tf.constant(0.9)])
def test_the_strength_narrows_the_areas_of_the_crops(strength):
    """The smallest is 1 - 0.9 s; the shapes are torchvision's at that scale."""
    smallest = 1 - 0.9 * float(strength)
    boxes = draw(Augmentation(), 5_000, strength, size=96)["boxes"]
    random = np.random.default_rng(0)
    expected = np.array(
        [reference.random_resized_crop_box(random, 96, 96, (smallest, 1.0), (3 / 4, 4 / 3)) for _ in boxes]
    )
    assert np.all((boxes[:, 2] + 0.5) * (boxes[:, 3] + 0.5) >= smallest * 96 * 96)
    for ours, theirs in zip(area_ratio_and_coordinates(boxes), area_ratio_and_coordinates(expected)):
        tolerance = 5 * theirs.std() * math.sqrt(2 / len(boxes))
        assert abs(ours.mean() - theirs.mean()) < tolerance
        assert abs(ours.std() - theirs.std()) < tolerance


@pytest.mark.parametrize("epoch", [0, 1, 10, 19])
def test_dynacl_has_the_published_ranges(epoch):
    with np.load(shared("parity", "dynacl.npz")) as arrays:
        strength, smallest, _, *limits = arrays["schedule/1000/augmentation"][epoch]
    drawn = draw(Augmentation(), 4_000, tf.constant(strength, tf.float32), size=96)
    for name, lower, upper in zip(("brightness", "contrast", "saturation", "hue"), limits[0:8:2], limits[1:8:2]):
        assert lower - 1e-6 <= drawn[name].min() < lower + 0.005 * (upper - lower)
        assert upper - 0.005 * (upper - lower) < drawn[name].max() <= upper + 1e-6
    assert_share(drawn["jitter"], limits[8])
    assert_share(drawn["grayscale"], limits[9])
    sides = drawn["boxes"][:, 2:].T
    assert np.all((sides[0] + 0.5) * (sides[1] + 0.5) >= smallest * 96 * 96)
    assert (sides[0] * sides[1]).min() < (smallest + 0.01) * 96 * 96


@pytest.mark.parametrize("jit_compile", [False, True])
def test_strength_one_is_no_strength(jit_compile):
    images = tf.constant(noise(12))
    augmentation = Augmentation(crop_scale=(0.08, 1.0), brightness=0.3)
    plain = tf.function(lambda: augmentation(images, SEED), jit_compile=jit_compile)()
    given = tf.function(lambda s: augmentation(images, SEED, strength=s), jit_compile=jit_compile)
    np.testing.assert_allclose(given(tf.constant(1.0)), plain, rtol=0, atol=1e-6 if jit_compile else 0)  # XLA contracts
    np.testing.assert_array_equal(augmentation(images, SEED, strength=1.0), augmentation(images, SEED))


def test_strength_zero_leaves_the_flip_and_the_ratio():
    images = noise(64)
    views = Augmentation(crop_ratio=(1.0, 1.0))(images, SEED, strength=0.0).numpy()
    pixels = images / np.float32(255)
    flipped = same_images(views, pixels[:, :, ::-1])
    assert 0 < flipped.sum() < 64
    assert np.all(flipped | same_images(views, pixels))


def test_a_strength_that_changes_traces_once():
    images, augmentation, traces = tf.constant(noise(4)), Augmentation(), []

    @tf.function
    def views(strength: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        traces.append(strength)
        return augmentation.two_views(images, SEED, strength=strength)

    for strength in (1.0, 0.95, 0.5):
        for view, expected in zip(
            views(tf.constant(strength)), augmentation.two_views(images, SEED, strength=strength)
        ):
            np.testing.assert_allclose(view, expected, atol=1e-5)
    assert len(traces) == 1


# Order of the stages


def by_hand(augmentation: Augmentation, images: np.ndarray) -> np.ndarray:
    """Each stage by NumPy or Pillow, one image at a time, with the parameters that were drawn."""
    parameters = {
        name: values.numpy() for name, values in augmentation._parameters(tf.constant(images), SEED, 0, None).items()
    }
    size = images.shape[1]
    views = []
    for k, image in enumerate(images / 255.0):
        own = {name: values[k] for name, values in parameters.items()}
        factors = [own[name] for name in ("brightness", "contrast", "saturation", "hue")]
        for stage in augmentation.stages:
            if stage == "crop":
                image = reference.pillow_resize_crop_unrounded(
                    255 * image, own["boxes"], size, augmentation.interpolation
                )
            elif stage == "flip" and own["flip"]:
                image = image[:, ::-1]
            elif stage == "jitter" and own["jitter"]:
                image = reference.color_jitter(image, factors, own["order"])
            elif stage == "grayscale" and own["grayscale"]:
                image = np.repeat(reference.grayscale(image)[..., np.newaxis], 3, axis=-1)
        views.append(image)
    return np.stack(views)


@pytest.mark.parametrize(
    "stages",
    [
        augment.STAGES,
        ("jitter", "grayscale", "flip", "crop"),
        ("jitter", "crop", "flip", "grayscale"),
        ("flip", "crop", "grayscale", "jitter"),
    ],
)
def test_stages_follow_their_order(stages):
    # Smooth images: at noise, hue jumps where a channel takes the lead.
    ramp = np.linspace(0, 200, 16)[:, np.newaxis, np.newaxis] + np.linspace(0, 50, 16)[:, np.newaxis]
    images = (ramp * np.random.default_rng(0).uniform(0.3, 1.0, (16, 1, 1, 3))).astype(np.uint8)
    augmentation = Augmentation(stages=stages, interpolation="bilinear", grayscale_probability=0.4, hue=0.02)
    views = augmentation(images, SEED)
    np.testing.assert_allclose(views, by_hand(augmentation, images), atol=2e-4)


# The whole augmentation


def test_nothing_is_the_identity():
    images = noise(8)
    np.testing.assert_array_equal(Augmentation(**NOTHING)(images, SEED), images / np.float32(255))


def test_images_without_jitter_are_untouched():
    images = noise(200, 4)
    views = Augmentation(**{**NOTHING, "jitter_probability": 0.5})(images, SEED).numpy()
    unchanged = np.all(views == images / np.float32(255), axis=(1, 2, 3))
    assert_share(unchanged, 0.5)
    assert np.abs(views - images / np.float32(255))[~unchanged].max(axis=(1, 2, 3)).min() > 1e-3


def test_switching_one_operation_off_leaves_the_others():
    images = noise(32)
    only_crop = Augmentation(flip=False, jitter_probability=0.0, grayscale_probability=0.0)(images, SEED).numpy()
    crop_and_flip = Augmentation(jitter_probability=0.0, grayscale_probability=0.0)(images, SEED).numpy()
    flipped = same_images(crop_and_flip, only_crop[:, :, ::-1])
    assert 0 < flipped.sum() < 32
    assert np.all(flipped | same_images(crop_and_flip, only_crop))


def test_operations_that_are_off_are_not_in_the_graph():
    def operations(augmentation):
        function = tf.function(lambda images: augmentation(images, SEED))
        return {
            op.type
            for op in function.get_concrete_function(tf.TensorSpec((2, 8, 8, 3), tf.uint8)).graph.get_operations()
        }

    assert "RGBToHSV" in operations(Augmentation())
    assert "RGBToHSV" not in operations(Augmentation(jitter_probability=0.0))
    assert "RGBToHSV" not in operations(Augmentation(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_two_views_in_a_function(jit_compile):
    images = noise(12, 24, 20)
    augmentation = Augmentation(image_size=16)
    two_views = tf.function(augmentation.two_views, jit_compile=jit_compile)
    views = two_views(tf.constant(images), tf.constant(SEED))
    for number, view in enumerate(views):
        assert view.shape == (12, 16, 16, 3) and view.dtype == tf.float32
        assert view.numpy().min() >= 0
        assert view.numpy().max() <= 1
        seed = tf.random.experimental.stateless_fold_in(SEED, number, alg="philox")
        np.testing.assert_allclose(view, augmentation(images, seed), atol=1e-5)
    assert not same_images(*(view.numpy() for view in views)).any()


def test_any_number_of_views_begins_with_the_same_ones():
    images, augmentation = noise(6), Augmentation()
    two = augmentation.two_views(images, SEED)
    for count in (1, 2, 3):
        views = augmentation.views(images, SEED, count)
        assert len(views) == count
        for number, view in enumerate(views):
            seed = tf.random.experimental.stateless_fold_in(SEED, number, alg="philox")
            np.testing.assert_allclose(view, augmentation(images, seed), atol=1e-5)
        for view, expected in zip(views, two):
            np.testing.assert_allclose(view, expected, atol=1e-5)
    with pytest.raises(ValueError) as error:
        augmentation.views(images, SEED, 0)
    assert str(error.value) == "`count` must be positive. Received: count=0"


def test_views_depend_on_the_seed_alone():
    images, augmentation = noise(16), Augmentation()
    np.testing.assert_array_equal(augmentation(images, SEED), augmentation(images, SEED))
    assert not same_images(augmentation(images, SEED).numpy(), augmentation(images, (3, 15)).numpy()).any()
    one_image = np.tile(images[:1], (16, 1, 1, 1))
    views = augmentation(one_image, SEED).numpy()
    assert not same_images(views[1:], views[:-1]).any()


@pytest.mark.parametrize("local_batch, jit_compile", [(5, False), (16, False), (5, True)])
def test_shards_equal_the_whole_batch(local_batch, jit_compile):
    total = 3 * local_batch
    images = tf.constant(noise(total))
    two_views = tf.function(Augmentation().two_views, jit_compile=jit_compile)
    whole = two_views(images, SEED)
    shards = [
        two_views(images[start : start + local_batch], SEED, offset=tf.constant(start), total=total)
        for start in range(0, total, local_batch)
    ]
    for view, parts in zip(whole, zip(*shards)):
        np.testing.assert_array_equal(view, np.concatenate(parts))


def test_batch_and_total_may_be_unknown_until_run_time():
    images, augmentation = noise(6), Augmentation()
    whole = tf.function(
        augmentation, input_signature=[tf.TensorSpec((None, 16, 16, 3), tf.uint8), tf.TensorSpec(2, tf.int32)]
    )
    np.testing.assert_allclose(whole(images, SEED), augmentation(images, SEED), atol=1e-6)
    shard = tf.function(augmentation)(images[2:5], SEED, offset=tf.constant(2), total=tf.constant(6))
    np.testing.assert_allclose(shard, augmentation(images, SEED)[2:5], atol=1e-6)


# Arguments


def test_every_argument_is_an_attribute():
    arguments = {
        "image_size": 24,
        "crop_scale": (0.2, 0.9),
        "crop_ratio": (0.5, 2.0),
        "flip": False,
        "brightness": 0.1,
        "contrast": 0.2,
        "saturation": 0.3,
        "hue": 0.4,
        "jitter_probability": 0.5,
        "grayscale_probability": 0.6,
        "stages": ("jitter", "grayscale", "flip", "crop"),
        "interpolation": "bilinear",
    }
    assert list(arguments) == list(inspect.signature(Augmentation).parameters)
    assert vars(Augmentation(**arguments)) == arguments


@pytest.mark.parametrize(
    "name, value, requirement",
    [
        ("image_size", 0, "must be a positive integer or None"),
        ("image_size", 32.0, "must be a positive integer or None"),
        ("crop_scale", (0.0, 1.0), "must be two positive numbers in ascending order, at most 1"),
        ("crop_scale", (0.1, 1.5), "must be two positive numbers in ascending order, at most 1"),
        ("crop_scale", 0.1, "must be two positive numbers in ascending order, at most 1"),
        ("crop_ratio", (2.0, 0.5), "must be two positive numbers in ascending order"),
        ("crop_ratio", (1.0, math.inf), "must be two positive numbers in ascending order"),
        ("brightness", -0.1, "must be at least 0"),
        ("contrast", math.nan, "must be at least 0"),
        ("saturation", math.inf, "must be at least 0"),
        ("hue", 0.6, "must be between 0 and 0.5"),
        ("jitter_probability", 1.1, "must be between 0 and 1"),
        ("grayscale_probability", -1, "must be between 0 and 1"),
    ],
)
def test_invalid_arguments(name, value, requirement):
    with pytest.raises(ValueError) as error:
        Augmentation(**{name: value})
    assert str(error.value) == f"`{name}` {requirement}. Received: {name}={value}"


@pytest.mark.parametrize("stages", [("crop", "flip", "jitter"), ("crop", "crop", "flip", "jitter"), ("blur",)])
def test_stages_are_all_four(stages):
    with pytest.raises(ValueError) as error:
        Augmentation(stages=stages)
    assert str(error.value) == (
        f"`stages` must be ('crop', 'flip', 'jitter', 'grayscale') in any order. Received: stages={stages}"
    )


def test_unknown_interpolation():
    with pytest.raises(ValueError) as error:
        Augmentation(interpolation="nearest")
    assert str(error.value) == '`interpolation` must be "bicubic" or "bilinear". Received: interpolation=\'nearest\''


@pytest.mark.parametrize(
    "images, message",
    [
        (noise(2, 8, 9), "`image_size` must be given .* Received: image_size=None, images.shape=\\(2, 8, 9, 3\\)"),
        (noise(2)[..., :1], "`images` must be uint8 .* Received: images.dtype=uint8, images.shape=\\(2, 16, 16, 1\\)"),
        (noise(2)[0], "`images` must be uint8 .* Received: images.dtype=uint8, images.shape=\\(16, 16, 3\\)"),
        (noise(2) / np.float32(255), "`images` must be uint8 .* Received: images.dtype=float32"),
    ],
)
def test_invalid_images(images, message):
    with pytest.raises(ValueError, match=message):
        Augmentation()(images, SEED)
