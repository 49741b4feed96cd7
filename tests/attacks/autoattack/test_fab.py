"""FAB: every step on linear models, where each is known, and the distances that it finds."""

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks import BALLS
from acl_tf.attacks.autoattack.fab import FAB
from tests.attacks.stepping import Linear, attacked, away, extremes, hilly, pixels, robust, walk

DISTANCES = {"linf": 0.008, "l2": 0.05, "l1": 0.12}
every_norm = pytest.mark.parametrize("norm", BALLS)
every_form = pytest.mark.parametrize("targeted", [True, False])


def scene(norm: str) -> tuple[Linear, np.ndarray, np.ndarray, np.ndarray]:
    """A model, images whose nearest class is known and far from 0 and 1, labels and nearest classes."""
    model = Linear()
    images, labels = model.at_distance(DISTANCES[norm], norm)
    return model, images, labels, model.distances(images, labels, norm).argmin(axis=1)


def places(steps: int) -> np.ndarray:
    """Where it looks, in distances to the boundary: Algorithm 1 on a line, with the published constants."""
    place, looked = 0.0, []
    for _ in range(steps):
        near = abs(1 - place)
        weight = min(near / (near + 1), 0.1)
        ahead = (1 - weight) * (place + 1.05 * (1 - place)) + weight * 1.05
        looked.append(ahead)
        place = 0.9 * ahead if ahead > 1 else ahead
    return np.array(looked)


@every_form
@every_norm
def test_steps_as_published(norm, targeted):
    model, images, labels, nearest = scene(norm)
    under = attacked(images, labels, nearest if targeted else labels)
    walked = walk(FAB(2 * DISTANCES[norm], 12, targeted, norm=norm), model, under)
    looked = away(walked.candidates, images, norm) / DISTANCES[norm]
    np.testing.assert_allclose(looked, np.repeat(places(12)[:, None], 8, axis=1), rtol=3e-3)
    assert walked.found.all()


def test_the_image_itself_has_a_weight_of_a_tenth_at_most():
    """In l2, from a point that is not on the way."""
    model, images, labels, nearest = scene("l2")
    attack = FAB(4 * DISTANCES["l2"], 1, norm="l2")
    walked = walk(attack, model, attacked(images, labels, nearest, restart=1))
    for row, image in enumerate(images.astype(np.float64)):
        normal = model.kernel[:, nearest[row]].astype(np.float64) - model.kernel[:, labels[row]]
        begin = walked.begin["images"][row].astype(np.float64)
        onwards, outwards = (-((point.ravel() - 0.5) @ normal) * normal / (normal @ normal) for point in (begin, image))
        near, far = np.linalg.norm(onwards), np.linalg.norm(outwards)
        weight = min(near / (near + far), 0.1)
        expected = (1 - weight) * (begin.ravel() + 1.05 * onwards) + weight * (image.ravel() + 1.05 * outwards)
        np.testing.assert_allclose(walked.candidates[0, row].ravel(), expected, atol=1e-5)


@every_form
@every_norm
def test_finds_what_is_a_little_farther_than_the_boundary_and_nothing_nearer(norm, targeted):
    model, images, labels, nearest = scene(norm)
    under = attacked(images, labels, nearest if targeted else labels)
    for share in (0.99, 1.02):
        found = walk(FAB(share * DISTANCES[norm], 20, targeted, norm=norm), model, under).found
        assert found.any(axis=0).tolist() == [share > 1] * 8


@every_norm
def test_a_target_is_the_boundary_that_it_goes_to(norm):
    model, images = Linear(seed=3), pixels(8)
    labels = model.labels(images)
    distances = model.distances(images, labels, norm)
    second = np.argsort(distances, axis=1)[:, 1]
    walked = walk(FAB(1.0, 1, norm=norm), model, attacked(images, labels, second))
    logits, rows = model(walked.candidates[0]).numpy(), np.arange(8)
    assert np.all(logits[rows, second] > logits[rows, labels])
    expected = 1.05 * distances[rows, second]
    np.testing.assert_allclose(away(walked.candidates, images, norm)[0], expected, rtol=1e-3)


@every_norm
def test_with_black_and_white_pixels_it_goes_no_farther_than_needed(norm):
    """What meets 0 or 1 is made up for by the other pixels; the boundary is linear, so one step decides."""
    model, images = Linear(seed=5), extremes(8)
    labels = model.labels(images)
    targets = np.argsort(model(images), axis=1)[:, -2]
    walked = walk(FAB(100.0, 3, norm=norm), model, attacked(images, labels, targets))
    assert walked.candidates.min() >= 0 and walked.candidates.max() <= 1
    logits, rows = model(walked.candidates[0]).numpy(), np.arange(8)
    assert np.all(logits[rows, targets] > logits[rows, labels] - 1e-3)


@every_norm
@hypothesis.settings(max_examples=3, phases=[hypothesis.Phase.generate])
@hypothesis.given(epsilon=st.sampled_from([1e-3, 0.05, 1.0]), seed=st.integers(0, 2**31 - 1))
def test_what_it_finds_is_in_the_ball_and_in_range(norm, epsilon, seed):
    images = extremes(6, seed)
    labels = hilly(images).numpy().argmax(axis=1)
    walked = walk(FAB(epsilon, 10, norm=norm), hilly, attacked(images, labels, (labels + 1) % 3, 1, seed))
    assert np.all(away(walked.candidates, images, norm)[walked.found] <= epsilon * (1 + 1e-6))
    assert walked.candidates.min() >= 0 and walked.candidates.max() <= 1
    for points, found in zip(walked.candidates, walked.found):
        assert np.all(hilly(points).numpy().argmax(axis=1)[found] != labels[found])


@every_norm
def test_the_first_run_begins_at_the_image_and_others_half_a_radius_away(norm):
    images = pixels(6)
    attack = FAB(0.2, 1, norm=norm)
    first, second = (attack.start(attacked(images, np.zeros(6), restart=restart))["images"] for restart in (0, 1))
    np.testing.assert_array_equal(first, images)
    np.testing.assert_allclose(away(second.numpy()[None], images, norm), np.full((1, 6), 0.1), rtol=1e-4)
    third = attack.start(attacked(images, np.zeros(6), restart=1, seeds=1))["images"]
    assert not np.allclose(second, third)


@every_norm
def test_an_image_is_attacked_alike_in_every_batch(norm):
    images = extremes(5)
    labels = hilly(images).numpy().argmax(axis=1)
    under = attacked(images, labels, (labels + 1) % 3, restart=1)
    together = walk(FAB(0.5, 6, norm=norm), hilly, under).candidates
    again = walk(FAB(0.5, 6, norm=norm), hilly, under).candidates
    np.testing.assert_array_equal(together, again)
    alone = walk(FAB(0.5, 6, norm=norm), hilly, type(under)(*(part[3:4] for part in under))).candidates
    np.testing.assert_allclose(alone[:, 0], together[:, 3], atol=1e-5)


def test_more_restarts_never_leave_more_images_robust():
    images = pixels(24, low=0.1, high=0.9)
    labels = hilly(images).numpy().argmax(axis=1)
    targets = np.argsort(-hilly(images).numpy(), axis=1)[:, 1:2]
    attack = FAB(0.01, 5, norm="linf")
    left = [robust(attack, hilly, images, labels, targets, restarts=count) for count in (1, 3)]
    assert not np.any(left[1] & ~left[0])
    assert 0 < left[0].sum() < len(images)


@every_form
def test_without_a_gradient_nothing_moves(targeted):
    images = pixels(3)

    def flat(x: tf.Tensor) -> tf.Tensor:
        return 0.0 * tf.reshape(x, [-1, 48])[:, :4] + [1.0, 0.5, 0.0, 0.0]

    walked = walk(FAB(0.5, 3, targeted, norm="linf"), flat, attacked(images, np.zeros(3), np.ones(3)))
    np.testing.assert_allclose(walked.candidates, np.broadcast_to(images, walked.candidates.shape), atol=1e-6)
    assert not walked.found.any()
