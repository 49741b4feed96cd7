"""Square: its schedule, windows and bumps beside independent loops, and what a random search never does."""

import math

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.autoattack.square import SQUARE_NORMS, L1Square, L2Square, LinfSquare, bump
from acl_tf.losses.margin import margin
from tests.attacks.stepping import ORDERS, Linear, attacked, away, extremes, hilly, pixels, robust, walk
from tests.reference import l1_in_box

every_norm = pytest.mark.parametrize("norm", SQUARE_NORMS)
numbers = st.integers(0, 2**31 - 1)
EPSILON = {"linf": 0.1, "l2": 0.5, "l1": 2.0}


def share(query: int) -> float:
    """Of the pixels, as published: 0.8, halved after 10, 50, 200, 500, 1000, 2000 and 4000 queries."""
    ends = (10, 50, 200, 500, 1000, 2000, 4000)
    return 0.8 / 2 ** next((number for number, end in enumerate(ends) if query <= end), len(ends))


# Squares and bumps


def test_the_squares_become_smaller_as_published():
    sides = LinfSquare(0.1).sides(32)
    expected = [max(round(math.sqrt(share(query)) * 32), 1) for query in range(5000)]
    assert sides[:5000].tolist() == expected
    changes = np.flatnonzero(np.diff(sides[:5000])) + 1
    assert changes.tolist() == [11, 51, 201, 501, 1001, 2001, 4001]
    assert [expected[0], *(expected[change] for change in changes)] == [29, 20, 14, 10, 7, 5, 4, 3]
    assert LinfSquare(0.1, share=0.3).sides(32)[0] == round(math.sqrt(0.3) * 32)


def test_windows_of_bumps_have_odd_sides_of_three_at_least():
    sides = L2Square(0.1).sides(32)
    assert sorted(set(sides.tolist())) == [3, 5, 7, 11, 15, 21, 29]
    assert set(L1Square(1.0).sides(4).tolist()) == {3, 4}  # no more than the image has


def loop(height: int, width: int, power: int) -> np.ndarray:
    """Every pixel by itself: the ring that it lies on, and all farther out, add to it."""
    values, rings = np.zeros((height, width)), max(height // 2, width // 2) + 1
    for row in range(height):
        for column in range(width):
            ring = max(abs(row - height // 2), abs(column - width // 2))
            values[row, column] = sum((other + 1.0) ** -power for other in range(ring, rings))
    return values


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("side", range(1, 12))
def test_a_bump(side, order):
    found = bump(side, order)
    assert found.shape == (side, side) and found.dtype == np.float32
    parts = [loop(height, side, {1: 4, 2: 2}[order]) for height in (side // 2, side - side // 2) if height]
    parts = [part / np.linalg.norm(part.ravel(), order) for part in parts]
    expected = np.concatenate([*parts[:-1], -parts[-1]])
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected.ravel(), order), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found.ravel(), order), 1, rtol=1e-5)


# Proposals, beside loops over the batch


def corner(draws: np.ndarray, side: int, size: int) -> tuple[int, int]:
    return tuple(int(np.float32(draw) * np.float32(size - side + 1)) for draw in draws)


def signs(draws: np.ndarray) -> np.ndarray:
    return np.where(draws < 0.5, -1.0, 1.0)


@hypothesis.given(side=st.integers(1, 6), seed=numbers)
def test_a_proposal_in_linf(side, seed):
    center, best = extremes(3, seed, 6), extremes(3, seed + 1, 6)
    draws = np.random.default_rng(seed).uniform(size=(3, 5)).astype(np.float32)
    found = LinfSquare(0.1).propose(*map(tf.constant, (center, best)), tf.fill([3], side), tf.constant(draws))
    for row in range(3):
        top, left = corner(draws[row, :2], side, 6)
        expected = best[row].copy()
        window = slice(top, top + side), slice(left, left + side)
        expected[window] = np.clip(center[row][window] + 0.1 * signs(draws[row, 2:5]), 0, 1)
        np.testing.assert_allclose(found[row], expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@hypothesis.settings(max_examples=8, phases=[hypothesis.Phase.generate])
@hypothesis.given(side=st.sampled_from([3, 5]), filled=st.floats(0.2, 1), seed=numbers)
def test_a_proposal_moves_two_windows_into_one_and_adds_a_bump(norm, side, filled, seed):
    """Andriushchenko et al. (ECCV 2020), Algorithm 3; Croce and Hein (ICML 2021), section 4."""
    order, epsilon, random = ORDERS[norm], EPSILON[norm], np.random.default_rng(seed)
    center = pixels(3, seed, size=6)
    delta = random.normal(size=center.shape)
    delta *= filled * epsilon / np.linalg.norm(delta.reshape(3, -1), order, axis=1).reshape(3, 1, 1, 1)
    best, draws = (center + delta).astype(np.float32), random.uniform(size=(3, 8)).astype(np.float32)
    attack = SQUARE_NORMS[norm](epsilon, queries=60)
    found = attack.propose(*map(tf.constant, (center, best)), tf.fill([3], side), tf.constant(draws)).numpy()
    for row in range(3):
        moved = (best[row] - center[row]).astype(np.float64)
        fill(moved, draws[row], side, epsilon, norm)
        if norm == "l2":
            expected = np.clip(center[row] + epsilon * moved / np.linalg.norm(moved), 0, 1)
        else:
            expected = center[row] + l1_in_box.project(center[row], moved, epsilon)
        np.testing.assert_allclose(found[row], expected, atol=2e-5)


def fill(moved: np.ndarray, draws: np.ndarray, side: int, epsilon: float, norm: str) -> None:
    """Changes the perturbation of one image as a proposal does, before it is brought into the ball."""
    order, used = ORDERS[norm], np.linalg.norm(moved.ravel(), ORDERS[norm])
    (top, left), (top2, left2) = corner(draws[:2], side, 6), corner(draws[2:4], side, 6)
    here, there = np.s_[top : top + side, left : left + side], np.s_[top2 : top2 + side, left2 : left2 + side]
    shape = bump(side, order) if draws[4] < 0.5 else bump(side, order).T
    held = np.zeros(moved.shape, bool)
    held[here] = held[there] = True
    fresh = np.zeros((side, side, 3))
    for channel in range(3):
        old = moved[here][..., channel]
        both = np.linalg.norm((moved * held)[..., channel].ravel(), order)
        fresh[..., channel] = shape * signs(draws[5 + channel]) + old / np.linalg.norm(old.ravel(), order)
        if norm == "l2":
            budget = math.sqrt(max(epsilon**2 - used**2, 0) / 3 + both**2)
        else:
            budget = (max(epsilon - used, 0) / 3 + both) * 3
        fresh[..., channel] *= budget / np.linalg.norm(fresh[..., channel].ravel(), order)
    moved[there] = 0
    moved[here] = fresh


def test_all_places_of_a_window_are_as_likely():
    draws = np.random.default_rng(0).uniform(size=(4000, 5)).astype(np.float32)
    grey = tf.fill([4000, 5, 5, 3], 0.5)
    changed = LinfSquare(0.1).propose(grey, grey, tf.fill([4000], 3), tf.constant(draws)).numpy() != 0.5
    tops, lefts = changed.any(axis=(2, 3)).argmax(axis=1), changed.any(axis=(1, 3)).argmax(axis=1)
    counts = np.bincount(3 * tops + lefts, minlength=9)
    assert len(counts) == 9 and np.abs(counts / 4000 - 1 / 9).max() < 0.02


# The search


@every_norm
@hypothesis.settings(max_examples=2, phases=[hypothesis.Phase.generate])
@hypothesis.given(seed=numbers)
def test_stays_in_the_ball_and_in_range(norm, seed):
    images = extremes(4, seed, 6)
    walked = walk(SQUARE_NORMS[norm](EPSILON[norm], 30), hilly, attacked(images, np.zeros(4), seeds=seed))
    assert away(walked.candidates, images, norm).max() <= EPSILON[norm] * (1 + 1e-6)
    assert walked.candidates.min() >= 0 and walked.candidates.max() <= 1


@every_norm
def test_every_query_uses_the_whole_radius(norm):
    """Where 0 and 1 are far."""
    images = pixels(4, size=6)
    walked = walk(SQUARE_NORMS[norm](EPSILON[norm], 30), hilly, attacked(images, np.zeros(4)))
    np.testing.assert_allclose(away(walked.candidates, images, norm), np.full((31, 4), EPSILON[norm]), rtol=1e-4)


def test_the_start_in_linf_is_stripes():
    images = pixels(4, size=6)
    delta = walk(LinfSquare(0.1, 1), hilly, attacked(images, np.zeros(4)), 1).candidates[0] - images
    np.testing.assert_allclose(np.abs(delta), 0.1, atol=1e-6)
    np.testing.assert_allclose(delta, np.broadcast_to(delta[:, :1], delta.shape), atol=1e-6)
    assert len({tuple(np.sign(one[0]).ravel()) for one in delta}) == 4


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_start_of_bumps_covers_the_image(norm):
    images = pixels(4, size=11)
    delta = walk(SQUARE_NORMS[norm](EPSILON[norm], 1), hilly, attacked(images, np.zeros(4)), 1).candidates[0] - images
    if norm == "l2":
        assert np.all(np.abs(delta[:, :10, :10]) > 0) and not delta[:, 10:].any() and not delta[:, :, 10:].any()
        tiles = np.square(delta[:, :10, :10]).reshape(4, 5, 2, 5, 2, 3).sum(axis=(2, 4))
        np.testing.assert_allclose(tiles, np.full(tiles.shape, 0.25 / 75), rtol=1e-3)
    assert all(not np.allclose(delta[0], other) for other in delta[1:])


@every_norm
def test_the_margin_of_what_is_kept_never_rises_until_it_is_broken(norm):
    images = pixels(6, size=6)
    labels = hilly(images).numpy().argmax(axis=1)
    walked = walk(SQUARE_NORMS[norm](EPSILON[norm] / 8, 60), hilly, attacked(images, labels))
    margins = np.stack([-margin(hilly(points), labels).numpy() for points in walked.candidates])
    for row in range(6):
        least = margins[0, row]
        for query in range(61):
            value = margins[query, row]
            least = value if value < least or walked.found[query, row] else least
            np.testing.assert_allclose(walked.states["margin"][query, row], least, atol=1e-4)
    for points, kept in zip(walked.states["best"], walked.states["margin"]):
        np.testing.assert_allclose(-margin(hilly(points), labels), kept, atol=1e-4)
    np.testing.assert_array_equal(walked.found, margins < 0)


@every_norm
def test_finds_nothing_nearer_than_the_boundary_and_something_far_beyond(norm):
    model = Linear(size=6)
    distance = {"linf": 0.008, "l2": 0.05, "l1": 0.12}[norm]
    images, labels = model.at_distance(distance, norm)
    for times, found in ((0.99, False), (12.0 if norm == "l1" else 5.0, True)):
        under = attacked(images, labels)
        walked = walk(SQUARE_NORMS[norm](times * distance, 150), model, under)
        assert walked.found.any(axis=0).all() == walked.found.any() == found


@every_norm
def test_depends_on_the_seed_alone(norm):
    images = extremes(4, size=6)
    attack = SQUARE_NORMS[norm](EPSILON[norm], 12)
    one, two, other = (walk(attack, hilly, attacked(images, np.zeros(4), seeds=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.candidates, two.candidates)
    assert all(not np.allclose(one.candidates[:, row], other.candidates[:, row]) for row in range(4))
    under = attacked(images, np.zeros(4), seeds=3)
    alone = walk(attack, hilly, type(under)(*(part[2:3] for part in under)))
    np.testing.assert_allclose(alone.candidates[:, 0], one.candidates[:, 2], atol=1e-5)


def test_more_restarts_never_leave_more_images_robust():
    images = pixels(24, low=0.1, high=0.9)
    labels = hilly(images).numpy().argmax(axis=1)
    left = [robust(LinfSquare(0.015, 3), hilly, images, labels, restarts=count) for count in (1, 4)]
    assert not np.any(left[1] & ~left[0])
    assert 0 < left[1].sum() < left[0].sum()


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("size", [3, 4])
def test_images_of_fewer_than_five_pixels(norm, size):
    images = pixels(2, size=size)
    walked = walk(SQUARE_NORMS[norm](0.2, 3), hilly, attacked(images, np.zeros(2)))
    np.testing.assert_allclose(away(walked.candidates, images, norm), np.full((4, 2), 0.2), rtol=1e-4)


def test_images_that_are_not_square():
    with pytest.raises(ValueError, match=r"^Images must be square. Received: images.shape=\(2, 4, 6, 3\)$"):
        LinfSquare(0.1).start(attacked(np.zeros((2, 4, 6, 3), np.float32), np.zeros(2)))


@pytest.mark.parametrize("wrong", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_that_is_none(wrong):
    with pytest.raises(ValueError, match=r"^`share` must be in \(0, 1\]. Received: share="):
        L2Square(0.1, share=wrong)
