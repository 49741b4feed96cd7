"""APGD: its schedule, every point that it looks at, and what it finds of linear models."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.autoattack import apgd
from acl_tf.attacks.autoattack.apgd import APGD_NORMS, L1APGD, L2APGD, LOSSES, LinfAPGD, Phase
from acl_tf.attacks.autoattack.stepwise import value_and_gradient
from tests.attacks.stepping import Linear, attacked, away, extremes, hilly, pixels, robust, walk
from tests.reference import apgd as reference

WEIGHTS = np.random.default_rng(4).normal(size=(3, 3, 3)).astype(np.float32)
DISTANCES = {"linf": 0.008, "l2": 0.05, "l1": 0.12}
every_norm = pytest.mark.parametrize("norm", APGD_NORMS)
# With epsilons so large that pixels meet 0 and 1.
KINDS = {
    "linf": (LinfAPGD, 0.2, None),
    "l2": (L2APGD, 1.0, None),
    "l1": (L1APGD, 4.0, None),
    "l1 in large balls": (L1APGD, 2.0, L1APGD.phases_of(2.0, 50)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def make(kind: str, steps: int = 20, loss: str = "dlr") -> apgd.APGD:
    cls, epsilon, phases = KINDS[kind]
    return cls(epsilon, loss, steps, phases=phases)


def labels_of(images: np.ndarray) -> np.ndarray:
    return hilly(images).numpy().argmax(axis=1)


# The schedule


def test_the_checkpoints_of_a_hundred_steps():
    windows = LinfAPGD(0.1, steps=100).schedule.window
    assert windows[windows > 0].tolist() == [22, 19, 16, 13, 10, 7, 6, 6]
    assert np.flatnonzero(windows).tolist() == [22, 41, 57, 70, 80, 87, 93, 99]


@pytest.mark.parametrize("steps", [100, 200, 1000])
def test_the_checkpoints_are_those_of_the_paper(steps):
    """p0 = 0, p1 = 0.22, and then 3 % less each time, at least 6 %; in hundredths."""
    shares = [0, 22]
    while (following := shares[-1] + max(shares[-1] - shares[-2] - 3, 6)) <= 100:
        shares.append(following)
    found = np.flatnonzero(LinfAPGD(0.1, steps=steps).schedule.window)
    assert found.tolist() == [share * steps // 100 for share in shares[1:]]


@hypothesis.settings(max_examples=60)
@hypothesis.given(steps=st.integers(1, 300))
def test_the_checkpoints_of_any_number_of_steps(steps):
    window = L2APGD(0.1, steps=steps).schedule.window
    expected = reference.checkpoints(steps)
    assert np.flatnonzero(window).tolist() == expected
    assert window[expected].tolist() == np.diff([0, *expected]).tolist()


def test_the_phases_of_l1():
    assert L1APGD.phases_of(12.0, 100) == [Phase(36.0, 30), Phase(24.0, 30), Phase(12.0, 40)]
    attack = L1APGD(12.0, phases=L1APGD.phases_of(12.0, 100))
    schedule = attack.schedule
    assert attack.steps == len(schedule.epsilon) == 31 + 31 + 41
    assert schedule.epsilon.tolist() == [36.0] * 31 + [24.0] * 31 + [12.0] * 41
    assert np.flatnonzero(schedule.first).tolist() == [0, 31, 62]
    assert np.flatnonzero(schedule.last).tolist() == [30, 61, 102]
    assert np.flatnonzero(schedule.final).tolist() == list(range(62, 103))
    assert np.flatnonzero(L1APGD(1.0, steps=100).schedule.window).tolist() == list(range(4, 101, 4))


def test_in_a_larger_ball_nothing_is_found():
    images = pixels(2)
    always = walk(make("l1 in large balls"), lambda x: hilly(x) - 1e3 * np.eye(3)[0], attacked(images, [0, 0])).found
    assert always[:, 0].tolist() == always[:, 1].tolist() == [False] * 32 + [True] * 21


# Every point, beside the papers' algorithms


def height(x: np.ndarray) -> float:
    return float(np.sum(WEIGHTS * np.sin(7 * x)))


def slope(x: np.ndarray) -> np.ndarray:
    return 7 * WEIGHTS * np.cos(7 * x)


def hills(x: tf.Tensor) -> tf.Tensor:
    height = tf.reduce_sum(WEIGHTS * tf.sin(7 * x), axis=(1, 2, 3))
    return tf.stack([height, tf.zeros_like(height)], axis=1)


@pytest.fixture(autouse=True)
def first_logit(monkeypatch):
    monkeypatch.setitem(LOSSES, "first", lambda logits, labels, targets: logits[:, 0])


def agreeing(points: np.ndarray, expected: list[np.ndarray]) -> int:
    """How many points are the same; where a summit is reached, rounding decides what is higher."""
    return int(np.sum(np.abs(points - np.array(expected)).max(axis=(1, 2, 3)) < 1e-4))


@pytest.mark.parametrize("steps", [7, 40])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_looks_at_the_points_of_the_published_algorithm(norm, steps):
    images = extremes(4, size=3)
    epsilon = {"linf": 0.3, "l2": 1.0}[norm]
    walked = walk(APGD_NORMS[norm](epsilon, "first", steps), hills, attacked(images, np.zeros(4)))
    starts = walked.candidates[0].astype(np.float64)
    for row, image in enumerate(images.astype(np.float64)):
        path = reference.apgd(image, starts[row], height, slope, epsilon, steps, norm)
        assert agreeing(walked.candidates[:, row], path.points) >= min(steps, 30)
        heights = [height(point) for point in path.points[: min(steps, 30) + 1]]
        np.testing.assert_allclose(walked.states["best_loss"][min(steps, 30), row], max(heights), rtol=1e-4)
    sizes = walked.states["step_size"]
    assert np.all(np.isin(np.diff(np.log2(sizes), axis=0).round(4), [0, -1])) and np.any(sizes[-1] < sizes[0])


@pytest.mark.parametrize("large", [False, True])
def test_looks_at_the_points_of_the_published_algorithm_in_l1(large):
    images, epsilon, steps = extremes(4, size=3), 1.5, 50
    phases = L1APGD.phases_of(epsilon, steps) if large else [Phase(epsilon, steps)]
    walked = walk(L1APGD(epsilon, "first", phases=phases), hills, attacked(images, np.zeros(4)))
    starts = walked.candidates[0].astype(np.float64)
    for row, image in enumerate(images.astype(np.float64)):
        points, begin = [], starts[row]
        for phase in phases:
            begin = image + reference.l1_in_box.project(image, begin - image, phase.epsilon)
            path = reference.l1_apgd(image, begin, height, slope, phase.epsilon, phase.steps, begun=large)
            points, begin = points + path.points, path.best
        assert agreeing(walked.candidates[:, row], points) >= 40
    sizes = walked.states["step_size"][-phases[-1].steps :]
    assert sizes.max() == epsilon and sizes.min() >= epsilon / 10 - 1e-6


@every_kind
def test_the_best_point_is_never_given_up(kind):
    images = extremes(4)
    attack = make(kind, 20, "first")
    states = walk(attack, hilly, attacked(images, labels_of(images))).states
    falls = np.diff(states["best_loss"], axis=0) < 0
    assert not falls[~attack.schedule.first[1 : len(falls) + 1]].any()
    for best, value in zip(states["best"], states["best_loss"]):
        np.testing.assert_allclose(hilly(best)[:, 0], value, atol=1e-3)


# In the ball and in [0, 1]


@every_kind
@hypothesis.settings(max_examples=3, phases=[hypothesis.Phase.generate])
@hypothesis.given(epsilon=st.sampled_from([1e-3, 0.03, 0.5, 2.0, 12.0]), seed=st.integers(0, 2**31 - 1))
def test_stays_in_the_ball_and_in_range(kind, epsilon, seed):
    images = extremes(4, seed)
    cls, _, phases = KINDS[kind]
    attack = cls(epsilon, "dlr", 12, phases=phases and cls.phases_of(epsilon, 12))
    walked = walk(attack, hilly, attacked(images, labels_of(images), seeds=seed))
    radius = attack.schedule.epsilon[:, None]
    assert np.all(away(walked.candidates, images, kind[:2] if kind != "linf" else kind) <= radius * (1 + 2e-6) + 1e-6)
    assert walked.candidates.min() >= 0 and walked.candidates.max() <= 1


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_starts_on_the_surface_of_the_ball(norm):
    images = pixels(6)
    start = walk(APGD_NORMS[norm](0.3, "dlr", 1), hilly, attacked(images, labels_of(images))).candidates[:1]
    np.testing.assert_allclose(away(start, images, norm), np.full((1, 6), 0.3), rtol=1e-4)


# Random numbers and batches


@every_kind
def test_depends_on_the_seed_alone(kind):
    images = extremes(4)
    one, two, other = (walk(make(kind), hilly, attacked(images, labels_of(images), seeds=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.candidates, two.candidates)
    for row in range(4):
        assert not np.allclose(one.candidates[:, row], other.candidates[:, row])


def test_images_have_seeds_of_their_own():
    images = np.repeat(pixels(1), 4, axis=0)
    starts = walk(make("linf"), hilly, attacked(images, np.zeros(4)), steps=1).candidates[0]
    assert all(not np.allclose(starts[0], other) for other in starts[1:])


@every_kind
def test_an_image_is_attacked_alike_in_every_batch(kind):
    images = extremes(5)
    under = attacked(images, labels_of(images))
    together = walk(make(kind), hilly, under, steps=12).candidates
    for row in (0, 3):
        alone = walk(make(kind), hilly, type(under)(*(part[row : row + 1] for part in under)), steps=12).candidates
        np.testing.assert_allclose(alone[:, 0], together[:, row], atol=1e-5)


@every_norm
def test_more_restarts_never_leave_more_images_robust(norm):
    images = pixels(24, low=0.1, high=0.9)
    labels = labels_of(images)
    epsilon = {"linf": 0.01, "l2": 0.05, "l1": 0.15}[norm]
    left = [robust(APGD_NORMS[norm](epsilon, "dlr", 6), hilly, images, labels, restarts=count) for count in (1, 3)]
    assert not np.any(left[1] & ~left[0])
    assert 0 < left[0].sum() < len(images)


# What it finds


@pytest.mark.parametrize("loss", ["cross_entropy", "dlr", "targeted_dlr"])
@every_norm
def test_finds_what_is_a_little_farther_than_the_boundary_and_nothing_nearer(norm, loss):
    """Only to a target is the way the shortest where several classes are near."""
    model = Linear(duel=loss != "targeted_dlr")
    images, labels = model.at_distance(DISTANCES[norm], norm)
    targets = model.distances(images, labels, norm).argmin(axis=1)
    # The published steps in l1 end with two pixels, where the shortest way is of one.
    for share in (0.99, 1.5 if norm == "l1" else 1.02):
        attack = APGD_NORMS[norm](share * DISTANCES[norm], loss, 100)
        found = walk(attack, model, attacked(images, labels, targets)).found
        assert found.any(axis=0).tolist() == [share > 1] * 8


def test_drives_to_the_target():
    model, images = Linear(classes=6), pixels(8)
    labels = model.labels(images)
    distances = model.distances(images, labels, "linf")
    for rank in (0, 4):
        targets = np.argsort(distances, axis=1)[:, rank]
        attack = LinfAPGD(float(1.05 * distances[distances < np.inf].max()), "targeted_dlr", 50)
        best = walk(attack, model, attacked(images, labels, targets)).states["best"][-1]
        logits, rows = model(best).numpy(), np.arange(8)
        assert np.all(logits[rows, targets] > logits[rows, labels])


# Draws of a stochastic model


def test_draws_are_averaged():
    slopes = tf.constant([1.0, 4.0, -2.0, 9.0])
    images = pixels(2)

    def predict(x: tf.Tensor, draw: tf.Tensor | int) -> tf.Tensor:
        mean = tf.reduce_mean(x, axis=(1, 2, 3))
        return tf.stack([tf.gather(slopes, draw) * mean, tf.zeros_like(mean)], axis=1)

    first = LOSSES["first"]
    for draws, expected in ((1, 1.0), (2, 2.5), (4, 3.0)):
        under = attacked(images, [0, 1])
        logits, loss, gradient = value_and_gradient(predict, first, under, tf.constant(images), draws)
        np.testing.assert_allclose(gradient, np.full(images.shape, expected / 48), rtol=1e-5)
        last = slopes[draws - 1].numpy() * images.mean(axis=(1, 2, 3))
        np.testing.assert_allclose(loss, last, rtol=1e-5)
        np.testing.assert_allclose(logits[:, 0], last, rtol=1e-5)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"draws": 0}, "`draws` must be positive. Received: draws=0"),
        (
            {"loss": "hinge"},
            "`loss` must be one of cross_entropy, dlr, targeted_dlr, first. Received: loss='hinge'",
        ),
        ({"epsilon": -1.0}, "`epsilon` must not be negative. Received: epsilon=-1.0"),
        ({"epsilon": float("nan")}, "`epsilon` must be finite. Received: epsilon=nan"),
    ],
)
def test_what_is_wrong(settings, message):
    with pytest.raises(ValueError) as error:
        LinfAPGD(**{"epsilon": 0.1, **settings})
    assert str(error.value) == message
