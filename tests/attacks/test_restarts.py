import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from acl_tf.attacks.base import AttackResult, GradientAttack, Loss
from acl_tf.attacks.pgd import PGD
from acl_tf.attacks.restarts import worst_of
from tests.attacks.scenes import ATTACKS, LOSSES, images, loss, slope


def hilly(x: tf.Tensor) -> tf.Tensor:
    """A loss with many local maxima, so that another start finds another one."""
    return tf.reduce_sum(tf.sin(20 * x) * slope(), axis=(1, 2, 3))


def draw_starts(attack: GradientAttack, x: tf.Tensor, number: int, seed: int = 0) -> list[tf.Tensor]:
    return [attack.start(x.shape, tf.constant((seed, restart)), x.dtype) for restart in range(number)]


@hypothesis.given(
    name=st.sampled_from(list(ATTACKS)), of=st.sampled_from([*LOSSES, "hilly"]), seed=st.integers(0, 2**31 - 1)
)
def test_more_restarts_never_give_a_lower_score(name, of, seed):
    x = images(seed=seed)
    score = hilly if of == "hilly" else loss(of, x, seed)
    attack = ATTACKS[name][0](0.3, 0.1, 2)
    starts = draw_starts(attack, x, 3, seed)
    scores = [np.array(score(worst_of(attack, x, score, starts[:number]).images)) for number in (1, 2, 3)]
    if of != "nt_xent":  # the score of an image depends on which others were kept
        assert np.all(np.diff(scores, axis=0) >= 0)


def test_keeps_the_worst_of_each_image():
    x, attack = images(batch=8), PGD(0.3, 0.1, 3)
    starts = draw_starts(attack, x, 4)
    single = [attack(x, hilly, start) for start in starts]
    scores = np.array([hilly(result.images) for result in single])
    assert len(set(scores.argmax(axis=0))) > 1 and np.any(scores.argmax(axis=0) < 3)  # or the test shows nothing
    found = worst_of(attack, x, hilly, starts)
    for index, best in enumerate(scores.argmax(axis=0)):
        np.testing.assert_array_equal(found.images[index], single[best].images[index])
    np.testing.assert_array_equal(found.losses, [result.losses for result in single])


def test_judges_by_the_score():
    x, attack = images(batch=8), PGD(0.3, 0.1, 3)
    starts = draw_starts(attack, x, 4)
    kept = worst_of(attack, x, hilly, starts, score=lambda y: -hilly(y))
    lowest = np.min([hilly(attack(x, hilly, start).images) for start in starts], axis=0)
    np.testing.assert_array_equal(hilly(kept.images), lowest)


def test_a_score_that_is_no_number_never_wins():
    x, attack = images(), PGD(0.3, 0.1, 1)
    starts = draw_starts(attack, x, 3)
    plain = [attack(x, hilly, start).images for start in starts]
    for broken in range(3):
        calls = iter(range(3))
        found = worst_of(
            attack,
            x,
            hilly,
            starts,
            lambda y, calls=calls, broken=broken: hilly(y) * (np.nan if next(calls) == broken else 1),
        )
        expected = np.max([hilly(y) for index, y in enumerate(plain) if index != broken], axis=0)
        np.testing.assert_array_equal(hilly(found.images), expected)


def test_one_start_is_the_attack():
    x, attack = images(), PGD(0.3, 0.1, 2)
    (start,) = draw_starts(attack, x, 1)
    result = worst_of(attack, x, hilly, [start])
    np.testing.assert_array_equal(result.images, attack(x, hilly, start).images)


@pytest.mark.parametrize("score", [None, lambda x: tf.reduce_mean(x, axis=(1, 2, 3))])
def test_in_a_function(score: Loss | None):
    x, attack = images(), PGD(0.3, 0.1, 2)

    def attacked(y: tf.Tensor) -> AttackResult:
        return worst_of(attack, y, hilly, draw_starts(attack, y, 3), score)

    for actual, expected in zip(tf.function(attacked)(x), attacked(x)):
        np.testing.assert_allclose(actual, expected, atol=1e-5)
