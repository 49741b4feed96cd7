"""AutoAttack: what is published, and what no batch, interruption or form of the model changes."""

import copy
import functools
import itertools
from collections.abc import Iterator
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.autoattack import suite as autoattack
from acl_tf.attacks.autoattack.apgd import APGD_NORMS, L1APGD, LinfAPGD
from acl_tf.attacks.autoattack.fab import FAB
from acl_tf.attacks.autoattack.rebatching import Job
from acl_tf.attacks.autoattack.square import SQUARE_NORMS, L2Square
from acl_tf.attacks.autoattack.suite import ATTACKS, ROBUST, WRONG, AutoAttack, AutoAttackResult, Component, components
from acl_tf.attacks.balls import L2
from tests.attacks.stepping import ORDERS, Linear, hilly, pixels

REAL = dict(ATTACKS)
APGD_T, FAB_T = Component(targets=9), Component(targets=9)
hills = functools.partial(hilly, classes=5)
IMAGES = pixels(14, seed=2, low=0.1, high=0.9, size=5)
LABELS = hills(IMAGES).numpy().argmax(axis=1)
LABELS[3] = (LABELS[3] + 1) % 5  # one that the model gets wrong anyway
LOSSES = {"apgd-ce": "cross_entropy", "apgd-dlr": "dlr", "apgd-t": "targeted_dlr"}
EPSILONS = {"linf": 0.003, "l2": 0.02, "l1": 0.08}


@pytest.fixture(autouse=True, scope="module")
def short() -> Iterator[None]:
    """All attacks with few steps."""
    with pytest.MonkeyPatch.context() as patch:
        for name, loss in LOSSES.items():
            patch.setitem(ATTACKS, name, lambda norm, epsilon, _, loss=loss: APGD_NORMS[norm](epsilon, loss, 8))
        for name in ("fab", "fab-t"):
            patch.setitem(ATTACKS, name, lambda norm, epsilon, _, name=name: FAB(epsilon, 6, name != "fab", norm))
        patch.setitem(ATTACKS, "square", lambda norm, epsilon, _: SQUARE_NORMS[norm](epsilon, queries=40))
        yield


def attacked(norm: str = "linf", **options) -> AutoAttackResult:
    return AutoAttack(hills, norm, **{"epsilon": EPSILONS[norm], **options}).run(IMAGES, LABELS)


@pytest.fixture(scope="module")
def whole(short) -> AutoAttackResult:
    """The standard evaluation, which nothing disturbs."""
    return attacked()


# What is published


def test_the_standard_version():
    expected = {"apgd-ce": Component(restarts=1), "apgd-t": APGD_T, "fab-t": FAB_T, "square": Component()}
    for norm in ("linf", "l2"):
        assert list(components("standard", norm).items()) == list(expected.items())


def test_the_standard_version_in_l1():
    expected = {
        "apgd-ce": Component(restarts=5, large=True),
        "apgd-t": Component(targets=5, large=True),
        "fab-t": FAB_T,
        "square": Component(),
    }
    assert list(components("standard", "l1").items()) == list(expected.items())


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_plus_version(norm):
    five = Component(restarts=5)
    expected = {"apgd-ce": five, "apgd-dlr": five, "fab": five, "square": Component(), "apgd-t": APGD_T, "fab-t": FAB_T}
    assert list(components("plus", norm).items()) == list(expected.items())


def test_the_version_for_stochastic_models():
    expected = {"apgd-ce": Component(draws=20), "apgd-dlr": Component(draws=20)}
    assert list(components("rand", "l2").items()) == list(expected.items())


def test_a_list_of_attacks():
    assert components("standard", "linf", ["square", "apgd-dlr"]) == {
        "square": Component(),
        "apgd-dlr": Component(restarts=5),
    }
    assert components("rand", "linf", ["apgd-t"]) == {"apgd-t": Component(targets=9, draws=20)}


def test_the_attacks_are_as_long_as_published():
    for name, loss in LOSSES.items():
        attack = REAL[name]("linf", 0.1, Component(draws=20))
        assert isinstance(attack, LinfAPGD)
        assert (attack.loss, attack.steps, attack.draws, len(attack.phases)) == (loss, 101, 20, 1)
        assert REAL[name]("l1", 12.0, Component(large=True)).phases == L1APGD.phases_of(12.0, 100)
        assert len(REAL[name]("l1", 12.0, Component()).phases) == 1
    for name, targeted in (("fab", False), ("fab-t", True)):
        attack = REAL[name]("l2", 0.5, Component())
        assert isinstance(attack, FAB) and isinstance(attack.ball, L2)
        assert (attack.steps, attack.targeted, attack.epsilon) == (100, targeted, 0.5)
    attack = REAL["square"]("l2", 0.5, Component())
    assert isinstance(attack, L2Square) and (attack.steps, attack.share) == (5001, 0.8)


class Jobs:
    """Stands in for the batches: notes what would be run, and finds nothing."""

    made: ClassVar[list["Jobs"]] = []

    def __init__(self, attack, crafted_on, model, classes, size, seed) -> None:
        self.attack, self.size, self.seed = attack, size, tuple(seed.numpy().tolist())
        self.made.append(self)

    def run(self, images, labels, jobs, is_open) -> Iterator[list]:
        self.jobs = [job for job in jobs if is_open(job.image)]
        yield []


@pytest.fixture
def planned(monkeypatch) -> list[Jobs]:
    monkeypatch.setattr(Jobs, "made", [])
    monkeypatch.setattr(autoattack, "Rebatching", Jobs)
    return Jobs.made


def test_targets_are_the_classes_after_the_first_in_their_order(planned):
    attacked(attacks=["apgd-t"])
    ranking = np.argsort(-hills(IMAGES).numpy(), axis=1)
    right = [image for image in range(14) if image != 3]
    expected = [Job(image, number, int(ranking[image, number + 1]), 0) for number in range(4) for image in right]
    assert planned[0].jobs == expected


def test_restarts_are_numbered(planned):
    attacked(attacks=["apgd-ce"])
    assert planned[0].jobs == [
        Job(image, number, int(np.argsort(-hills(IMAGES).numpy(), axis=1)[image, 1]), number)
        for number in range(5)
        for image in range(14)
        if image != 3
    ]


def test_every_attack_and_seed_has_random_numbers_of_its_own(planned):
    for seed in (0, 1):
        attacked(version="plus", seed=seed)
    assert len({made.seed for made in planned}) == 12


def test_batches_of_one_attack_are_of_one_size(planned):
    attacked(attacks=["apgd-t"], batch_size=20)
    assert planned[0].size == 18  # 52 jobs in three rounds
    attacked(attacks=["square"], batch_size=128)
    assert planned[1].size == 13


# What comes of it


def test_survivors_and_times(whole):
    assert list(whole.survivors) == ["clean", "apgd-ce", "apgd-t", "fab-t", "square"]
    left = list(whole.survivors.values())
    assert left[0] == 13 and 0 < left[-1] <= left[1] < left[0]
    assert all(later <= earlier for earlier, later in itertools.pairwise(left))
    assert left[-1] == whole.robust.sum() and whole.robust_accuracy == left[-1] / 14
    assert list(whole.seconds) == list(whole.survivors)[1:] and min(whole.seconds.values()) > 0
    assert not whole.robust[3]


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_what_is_returned_is_in_the_ball_and_wrong(norm):
    result = attacked(norm)
    assert result.adversarial.dtype == np.float32
    delta = (result.adversarial.astype(np.float64) - IMAGES).reshape(14, -1)
    assert np.linalg.norm(delta, ORDERS[norm], axis=1).max() <= EPSILONS[norm] * (1 + 1e-5)
    assert result.adversarial.min() >= 0 and result.adversarial.max() <= 1
    wrong = hills(result.adversarial).numpy().argmax(axis=1) != LABELS
    np.testing.assert_array_equal(wrong, ~result.robust)
    assert 0 < result.robust.sum() < 13
    same = np.all(result.adversarial == IMAGES, axis=(1, 2, 3))
    np.testing.assert_array_equal(same, result.robust | (np.arange(14) == 3))


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_batch_size_changes_nothing(whole, batch_size):
    result = attacked(batch_size=batch_size)
    np.testing.assert_array_equal(result.robust, whole.robust)
    assert result.survivors == whole.survivors


def test_which_images_are_beside_it_matters_only_by_their_numbers(whole):
    result = AutoAttack(hills, epsilon=EPSILONS["linf"]).run(IMAGES[:9], LABELS[:9])
    np.testing.assert_array_equal(result.robust, whole.robust[:9])


def test_the_exact_distances_of_a_linear_model():
    """Four images are a little nearer to the boundary than the radius, four a little farther."""
    model = Linear()
    near, far = (model.at_distance(distance, "linf", 4) for distance in (0.0075, 0.0085))
    images, labels = (np.concatenate(parts) for parts in zip(near, far))
    result = AutoAttack(model, epsilon=0.008).run(images, labels)
    assert result.robust.tolist() == [False] * 4 + [True] * 4


@pytest.mark.parametrize("stop", [2, 7])
def test_a_tally_goes_on_where_another_run_ended(whole, stop):
    options = {"epsilon": EPSILONS["linf"], "batch_size": 7}
    first = AutoAttack(hills, **options)
    tally = first.tally(14)
    for number, _ in enumerate(first.proceed(IMAGES, LABELS, tally), 1):
        if number == stop:
            break
    kept = copy.deepcopy(tally)
    second = AutoAttack(hills, **{**options, "batch_size": 3})
    assert kept.seconds.sum() > 0
    list(second.proceed(IMAGES, LABELS, kept))
    np.testing.assert_array_equal(kept.robust, whole.robust)
    assert second.survivors(kept) == whole.survivors


def test_of_a_complete_tally_nothing_is_run_again(whole, monkeypatch):
    attack = AutoAttack(hills, epsilon=EPSILONS["linf"])
    tally = attack.tally(14)
    progress = list(attack.proceed(IMAGES, LABELS, tally))
    np.testing.assert_array_equal(tally.robust, whole.robust)
    assert progress[-1].left == 0 and progress[-1].robust == tally.robust.sum()
    assert {one.attack for one in progress} == set(attack.components)
    assert tally.broken_by[3] == WRONG and set(tally.broken_by[tally.robust]) == {ROBUST}
    assert list(AutoAttack(hills, epsilon=EPSILONS["linf"]).proceed(IMAGES, LABELS, copy.deepcopy(tally))) == []


def test_where_every_image_is_wrong_nothing_is_run():
    result = AutoAttack(hills, epsilon=0.1).run(IMAGES[3:4], LABELS[3:4])
    assert result.survivors == dict.fromkeys(["clean", "apgd-ce", "apgd-t", "fab-t", "square"], 0)
    assert not result.robust.any() and result.warnings == ()


# Models of all kinds


def test_a_keras_model_and_a_saved_model(tmp_path):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((5, 5, 3))
    hidden = keras.layers.Dense(8, "tanh")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(5)(hidden))
    labels = model(IMAGES).numpy().argmax(axis=1)
    signature = tf.function(lambda images: {"logits": model(images)}).get_concrete_function(
        tf.TensorSpec([None, 5, 5, 3], tf.float32, name="images")
    )
    tf.saved_model.save(model, str(tmp_path), signatures=signature)
    loaded = tf.saved_model.load(str(tmp_path))
    served = loaded.signatures["serving_default"]
    options = {"epsilon": 0.05, "attacks": ["apgd-ce", "apgd-t", "square"]}
    results = [
        AutoAttack(form, **options).run(IMAGES, labels)
        for form in (model, lambda images: model(images), lambda images: served(images=images)["logits"])
    ]
    assert 0 < results[0].robust.sum() < 14
    for other in results[1:]:
        np.testing.assert_array_equal(other.robust, results[0].robust)


def test_crafted_on_another_model():
    result = attacked(attacks=["apgd-ce"], crafted_on=Linear(size=5))
    assert result.survivors["apgd-ce"] >= attacked(attacks=["apgd-ce"]).survivors["apgd-ce"]


# What is wrong


@pytest.mark.parametrize(
    "options, message",
    [
        ({"norm": "Linf"}, "`norm` must be one of linf, l2, l1. Received: norm='Linf'"),
        ({"version": "custom"}, "`version` must be one of standard, plus, rand. Received: version='custom'"),
        (
            {"attacks": ["pgd"]},
            "`attacks` must be some of apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square. Received: attacks=['pgd']",
        ),
        (
            {"attacks": []},
            "`attacks` must be some of apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square. Received: attacks=[]",
        ),
        ({"batch_size": 0}, "`batch_size` must be positive. Received: batch_size=0"),
        ({"epsilon": 0.0}, "`epsilon` must be positive and finite. Received: epsilon=0.0"),
        ({"epsilon": float("inf")}, "`epsilon` must be positive and finite. Received: epsilon=inf"),
    ],
)
def test_settings(options, message):
    with pytest.raises(ValueError) as error:
        AutoAttack(hills, **options)
    assert str(error.value) == message


SHAPES = "Images must be floating point, of shape (n, height, width, channels). Received: "
FOURTEEN = "Labels must be integers from 0, of shape (14,). Received: "


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (IMAGES[0], LABELS, f"{SHAPES}float32 of shape (5, 5, 3)"),
        (IMAGES[:0], LABELS[:0], f"{SHAPES}float32 of shape (0, 5, 5, 3)"),
        (np.zeros((14, 4, 4, 3), np.uint8), LABELS, f"{SHAPES}uint8 of shape (14, 4, 4, 3)"),
        (IMAGES - 1, LABELS, "Images must lie in [0, 1]. Received: values from -0.89"),
        (IMAGES * np.nan, LABELS, "Images must lie in [0, 1]. Received: values from nan to nan"),
        (IMAGES, LABELS[:3], f"{FOURTEEN}int64 of shape (3,)"),
        (IMAGES, LABELS - 5, f"{FOURTEEN}int64 of shape (14,)"),
        (IMAGES, LABELS / 1.0, f"{FOURTEEN}float64 of shape (14,)"),
        (IMAGES, LABELS + 1, "The model must return logits of shape (batch, classes), one for each label."),
    ],
)
def test_images_and_labels(images, labels, message):
    with pytest.raises(ValueError) as error:
        AutoAttack(hills).run(images, labels)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
@pytest.mark.parametrize("channels", [1, 4])
def test_square_takes_any_number_of_channels(norm, channels, short):
    images = np.random.default_rng(0).uniform(0.4, 0.6, (2, 5, 5, channels)).astype(np.float32)
    weights = tf.constant(np.random.default_rng(1).normal(size=(25 * channels, 3)), tf.float32)
    model = lambda images: tf.reshape(images, [-1, 25 * channels]) @ weights  # noqa: E731
    labels = model(images).numpy().argmax(axis=1)
    result = AutoAttack(model, norm, {"linf": 0.3, "l2": 2.0, "l1": 9.0}[norm], attacks=["square"]).run(images, labels)
    assert result.survivors["clean"] == 2 and result.robust.sum() < 2
