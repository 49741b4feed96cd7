"""Jobs in a batch of one size, with attacks that do nothing but count, and models that say how they are asked."""

from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.autoattack.apgd import LinfAPGD
from acl_tf.attacks.autoattack.fab import FAB
from acl_tf.attacks.autoattack.rebatching import DRAWS, Job, Outcome, Rebatching
from acl_tf.attacks.autoattack.square import LinfSquare
from acl_tf.attacks.autoattack.stepwise import Attacked, Predict, State, Step, StepwiseAttack, is_wrong
from acl_tf.types import Classifier
from tests.attacks.stepping import hilly, pixels, robust

LABELS = np.zeros(6, np.int32)


class Counting(StepwiseAttack):
    """Turns an image white at the step that its first pixel names, in hundredths; its state is how often it was."""

    least_steps_per_call = 3

    def __init__(self, steps: int = 12) -> None:
        super().__init__(1.0, steps)

    def start(self, attacked: Attacked) -> State:
        return {"steps": tf.zeros_like(attacked.labels)}

    def step(self, predict: Predict, attacked: Attacked, state: State, number: tf.Tensor) -> Step:
        tf.debugging.assert_equal(state["steps"], number)
        when = tf.cast(tf.round(100 * attacked.images[:, 0, 0, 0]), tf.int32)
        candidates = tf.where((when == number)[:, None, None, None], 1.0, attacked.images)
        found = is_wrong(predict(candidates, 0), attacked.labels)
        return Step({"steps": state["steps"] + 1}, candidates, found)


def brightness(images: tf.Tensor) -> tf.Tensor:
    mean = tf.reduce_mean(images, axis=(1, 2, 3))
    return tf.stack([0.5 - mean, mean - 0.5], axis=1)


class Traced:
    """A model that counts how often it is traced, or called outside of a graph."""

    def __init__(self, model=brightness) -> None:
        self.model, self.times = model, 0

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        self.times += 1
        return self.model(images)


def broken_at(*steps: int) -> np.ndarray:
    """Images that are broken at these steps."""
    return np.stack([np.full((2, 2, 3), step / 100, np.float32) for step in steps])


def outcomes(
    images: np.ndarray,
    jobs: Sequence[Job],
    size: int,
    crafted_on=brightness,
    model=brightness,
    attack: StepwiseAttack | None = None,
    closes: bool = False,
) -> list[list[Outcome]]:
    batches = Rebatching(attack or Counting(), crafted_on, model, 2, size, tf.constant([5, 0]))
    closed: set[int] = set()
    rounds = []
    for ended in batches.run(images, LABELS[: len(images)], jobs, lambda image: image not in closed):
        rounds.append(ended)
        closed.update(job.image for job, found in ended if closes and found is not None)
    return rounds


def each_once(count: int) -> list[Job]:
    return [Job(image, 0) for image in range(count)]


@pytest.mark.parametrize("size", [1, 2, 4, 9])
def test_every_job_ends_once_and_makes_room_for_the_next(size):
    images = broken_at(0, 20, 5, 11, 12, 2)
    rounds = outcomes(images, each_once(6), size)
    ended = {job.image: found for outcome in rounds for job, found in outcome}
    assert sorted(job.image for outcome in rounds for job, _ in outcome) == list(range(6))
    assert [ended[image] is not None for image in range(6)] == [True, False, True, True, False, True]
    assert all(np.all(found == 1) for found in ended.values() if found is not None)
    if size == 1:  # three steps a call: so many calls each needs
        assert [len(outcome) for outcome in rounds] == [1, *[0, 0, 0, 1], 0, 1, *[0, 0, 0, 1], *[0, 0, 0, 1], 1]


def test_what_the_last_call_does_beyond_the_last_step_does_not_count():
    (*_, ended) = outcomes(broken_at(10, 11), each_once(2), 2, attack=Counting(11))
    assert [found is not None for _, found in ended] == [True, False]


def test_nothing_is_traced_twice():
    crafted_on, model = Traced(), Traced()
    rounds = outcomes(broken_at(0, 20, 5, 11, 12, 2), each_once(6), 2, crafted_on, model)
    assert len(rounds) > 5
    assert crafted_on.times == 1 and model.times == 1


@pytest.mark.parametrize("attack", [LinfAPGD(0.01, "dlr", 15), FAB(0.03, 8, norm="l2"), LinfSquare(0.01, 20)])
def test_no_attack_is_traced_twice(attack):
    images = pixels(6, low=0.1, high=0.9)
    labels = hilly(images).numpy().argmax(axis=1)
    model = Traced(hilly)
    targets = np.stack([(labels + 1) % 3, (labels + 2) % 3], axis=1)
    robust(attack, model, images, labels, targets, restarts=2, size=6)
    once = model.times
    model.times = 0
    robust(attack, model, images, labels, targets, restarts=2, size=4)
    assert model.times == once


@pytest.mark.parametrize("attack", [LinfAPGD(0.004, "dlr", 15), FAB(0.03, 8, norm="l2"), LinfSquare(0.01, 20)])
def test_size_and_order_of_the_batch_change_nothing(attack):
    images = pixels(12, low=0.1, high=0.9)
    labels = hilly(images).numpy().argmax(axis=1)
    targets = (labels[:, None] + 1) % 3
    expected = robust(attack, hilly, images, labels, targets, restarts=2)
    assert 0 < expected.sum() < 12
    for size in (1, 5):
        np.testing.assert_array_equal(robust(attack, hilly, images, labels, targets, 2, size=size), expected)


def test_places_without_a_job_change_nothing():
    images = broken_at(4, 20, 7)
    few, many = outcomes(images, each_once(3), 3), outcomes(images, each_once(3), 8)
    assert [[job for job, _ in outcome] for outcome in few] == [[job for job, _ in outcome] for outcome in many]


def test_no_jobs():
    assert outcomes(broken_at(1), [], 2) == []


def test_jobs_of_a_closed_image_are_given_up():
    """The second and third of image 0 while they wait, that of image 1 while it runs beside the other."""
    images = broken_at(1, 20)
    jobs = [Job(0, 0), Job(1, 0), Job(0, 1), Job(1, 1), Job(0, 2)]
    begun = [job for outcome in outcomes(images, jobs, 2, closes=True) for job, _ in outcome]
    assert begun == [Job(0, 0), Job(1, 0), Job(1, 1)]
    together = [job for outcome in outcomes(broken_at(1), [Job(0, 0), Job(0, 1)], 2, closes=True) for job, _ in outcome]
    assert together == [Job(0, 0), Job(0, 1)]  # both had ended
    slow = outcomes(broken_at(20), [Job(0, 0)], 1)
    assert [len(outcome) for outcome in slow] == [0, 0, 0, 1]


def test_a_closed_image_leaves_its_place():
    batches = Rebatching(Counting(), brightness, brightness, 2, 1, tf.constant([5, 0]))
    open_, ended = [True, True], []
    for outcome in batches.run(broken_at(20, 1), LABELS[:2], each_once(2), lambda image: open_[image]):
        open_[0] = False
        ended += outcome
    assert [job.image for job, _ in ended] == [1]


def test_only_what_the_model_itself_gets_wrong_is_found():
    """Another model is asked than the attack saw."""
    rounds = outcomes(broken_at(2, 5), each_once(2), 2, model=lambda images: -brightness(images) * 0 + [1.0, 0.0])
    assert [found for outcome in rounds for _, found in outcome] == [None, None]


@pytest.mark.parametrize("lead, found", [(0.0, False), (1e-7, False), (1e-5, True), (1.0, True)])
def test_ties_are_not_found(lead, found):
    """Whether they are broken depends on the size of the batch."""

    def model(images: tf.Tensor) -> tf.Tensor:
        return tf.ones([len(images), 2]) * [1.0, 1.0 + lead]

    (*_, ended) = outcomes(broken_at(2), each_once(1), 1, model=model)
    assert (ended[0].found is not None) == found


class Asked:
    """A stochastic model that notes what it is asked with; a step is found where it says so."""

    def __init__(self) -> None:
        self.seeds: list[np.ndarray] = []
        self.indices: list[np.ndarray] = []

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        raise AssertionError("asked without seeds")

    def for_images(self, indices: tf.Tensor) -> Classifier:
        raise AssertionError("asked without seeds")

    def seeded(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        tf.numpy_function(lambda seeds: self.seeds.append(seeds), [seeds], [])
        return brightness(images)

    def decide(self, images: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        tf.numpy_function(lambda indices: self.indices.append(indices), [indices], [])
        return brightness(images)


def test_a_stochastic_model_gets_seeds_of_its_own_for_every_image_job_and_step():
    model = Asked()
    jobs = [Job(2, 0), Job(0, 0), Job(0, 1)]
    outcomes(broken_at(20, 1, 4), jobs, 3, model, model, Counting(6))
    seeds = np.stack(model.seeds)  # (steps, places, 2)
    assert seeds.shape == (6, 3, 2)
    assert np.all(np.diff(seeds[:, :, 1], axis=0) == DRAWS) and np.all(np.diff(seeds[:, :, 0], axis=0) == 0)
    assert len(np.unique(seeds.reshape(-1, 2), axis=0)) == 18
    other = Asked()
    outcomes(broken_at(20, 1, 4), jobs[:2], 1, other, other, Counting(6))
    np.testing.assert_array_equal(np.stack(other.seeds)[6:, 0], seeds[:, 1])  # whatever runs beside it
    assert [list(indices) for indices in model.indices] == [[2, 0, 0]]


def test_draws_have_seeds_of_their_own():
    model = Asked()
    images = pixels(1)
    attack = LinfAPGD(0.01, "cross_entropy", 3, draws=4)
    batches = Rebatching(attack, model, model, 2, 1, tf.constant([5, 0]))
    list(batches.run(images, LABELS[:1], each_once(1), lambda image: True))
    seeds = np.stack(model.seeds).reshape(-1, 2)
    assert len(np.unique(seeds, axis=0)) == len(seeds) == 4 * attack.steps_per_call


def test_half_precision_is_made_whole():
    rounds = outcomes(broken_at(2, 20), each_once(2), 2, *[lambda x: tf.cast(brightness(x), tf.bfloat16)] * 2)
    assert [found is not None for outcome in rounds for _, found in outcome] == [True, False]


def test_logits_of_another_number_than_was_said():
    with pytest.raises(ValueError):
        outcomes(broken_at(2), each_once(1), 1, lambda images: tf.zeros([1, 3]))


class Coin:
    """Calls every image wrong the first so many times that it is asked."""

    def __init__(self, lies: int) -> None:
        self.lies, self.times = lies, 0

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        def logits(images: np.ndarray) -> np.ndarray:
            self.times += 1
            wrong = self.times <= self.lies
            return np.tile(np.array([0, 1] if wrong else [1, 0], np.float32), (len(images), 1))

        return tf.numpy_function(logits, [images], tf.float32)


def test_what_is_found_early_of_a_model_that_draws_noise_is_kept_to_the_end():
    attack = Counting()
    attack.draws = 20
    rounds = outcomes(broken_at(1), each_once(1), 1, model=Coin(lies=1), attack=attack)
    assert [[found is not None for _, found in ended] for ended in rounds] == [[], [], [], [True]]


def test_logits_that_are_no_numbers_are_wrong():
    rounds = outcomes(broken_at(2), each_once(1), 1, model=lambda images: brightness(images) + float("nan"))
    assert [found is not None for ended in rounds for _, found in ended] == [True]


def test_a_class_that_is_ruled_out_does_not_hide_the_others():
    def masked(images: tf.Tensor) -> tf.Tensor:
        return tf.concat([brightness(images), tf.fill([len(images), 1], -1e9)], axis=1)

    batches = Rebatching(Counting(), masked, masked, 3, 1, tf.constant([5, 0]))
    rounds = batches.run(broken_at(2), LABELS[:1], each_once(1), lambda image: True)
    assert [found is not None for ended in rounds for _, found in ended] == [True]
