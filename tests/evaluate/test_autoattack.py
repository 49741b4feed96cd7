"""AutoAttack in an evaluation: its record, and what an interruption leaves."""

import functools
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from acl_tf.attacks.autoattack import suite as attacks
from acl_tf.attacks.autoattack.apgd import APGD_NORMS
from acl_tf.attacks.autoattack.fab import FAB
from acl_tf.attacks.autoattack.square import SQUARE_NORMS
from acl_tf.classifiers.smoothed import SmoothedClassifier
from acl_tf.errors import Interrupted, UsageError
from acl_tf.evaluate.autoattack import AutoAttackAccuracy
from acl_tf.evaluate.base import Evaluation, Measured, Target
from acl_tf.evaluate.evaluator import Circumstances
from acl_tf.evaluate.parse import parse_attack
from acl_tf.evaluate.unfinished import Unfinished
from acl_tf.records import add_records, read_file
from acl_tf.training.interruption import Interruption
from tests.evaluate.scenes import brightness, classifier, distances, greys, kept, noise, random_weights, scores

LOSSES = {"apgd-ce": "cross_entropy", "apgd-dlr": "dlr", "apgd-t": "targeted_dlr"}
TWO = {"epsilon": 10 / 255, "attacks": "apgd-ce+square"}


@pytest.fixture(autouse=True, scope="module")
def short() -> Iterator[None]:
    """All attacks with few steps."""
    with pytest.MonkeyPatch.context() as patch:
        for name, loss in LOSSES.items():
            patch.setitem(attacks.ATTACKS, name, lambda n, epsilon, _, loss=loss: APGD_NORMS[n](epsilon, loss, 9))
        for name in ("fab", "fab-t"):
            patch.setitem(attacks.ATTACKS, name, lambda n, epsilon, _, name=name: FAB(epsilon, 5, name != "fab", n))
        patch.setitem(attacks.ATTACKS, "square", lambda n, epsilon, _: SQUARE_NORMS[n](epsilon, queries=60))
        yield


def target(model=None, **options) -> Target:
    model = functools.partial(model or brightness(), training=False)
    return Target(model, model, options.pop("classes", 2), **options)


def measured(settings: dict = TWO, of: Target | None = None, **options) -> Measured:
    evaluation = Evaluation(options.pop("images", greys()), **options)
    (only,) = AutoAttackAccuracy("autoattack", **settings).run(evaluation, of or target())
    return only


def same(record: dict) -> dict:
    """A record without what two runs of one seed differ in."""
    return {key: value for key, value in kept(record).items() if key != "seconds_per_attack"}


# The record


def test_the_record():
    record, withstood = measured(seed=7, model_sha256="5" * 64)
    np.testing.assert_array_equal(withstood, distances(greys()) > 10 / 255)
    assert record["metric"] == "robust_accuracy" and record["value"] == withstood.mean() == 0.75
    assert (record["n"], record["dataset"], record["model_sha256"]) == (8, "greys", "5" * 64)
    assert record["protocol"] == {
        "attack": "autoattack",
        "version": "custom",
        "norm": "linf",
        "epsilon": 10 / 255,
        "attacks": ["apgd-ce", "square"],
        "eot": 1,
        "seed": 7,
        "per_attack": {"clean": 8, "apgd-ce": 6, "square": 6},
        "warnings": [],
    }
    assert list(record["seconds_per_attack"]) == ["apgd-ce", "square"]
    assert record["seconds"] == pytest.approx(sum(record["seconds_per_attack"].values()), abs=0.01)
    assert json.loads(json.dumps(record)) == record


def test_the_standard_version():
    record, _ = measured({"epsilon": 10 / 255}, target(brightness(classes=4), classes=4))
    assert record["value"] == 0.75
    assert record["protocol"]["version"] == "standard"
    assert list(record["protocol"]["per_attack"]) == ["clean", "apgd-ce", "apgd-t", "fab-t", "square"]


@pytest.mark.parametrize("norm, order, epsilon", [("linf", 1, 0.02), ("l2", 2, 0.1), ("l1", np.inf, 0.25)])
def test_the_exact_robust_accuracy_of_a_linear_model(norm, order, epsilon):
    """Distance to the boundary: the score divided by the dual norm of the weights."""
    weights = random_weights(5)
    images = noise(weights, 30)
    settings = {"norm": norm, "epsilon": epsilon, "attacks": ("fab-t",)}
    record, withstood = measured(settings, target(classifier(weights, 5)), images=images)
    away = np.abs(scores(weights, images.images)) / np.linalg.norm(weights.ravel(), order)
    sure = np.abs(away - epsilon) > 0.03 * epsilon
    np.testing.assert_array_equal(withstood[sure], (away > epsilon)[sure])
    assert 0 < withstood.sum() < 30 and record["protocol"]["norm"] == norm


@pytest.mark.parametrize("change", [{"batch_size": 3}, {"batch_size": 1}])
def test_the_batch_size_changes_nothing(change):
    assert same(measured(**change).record) == same(measured().record)


def test_another_seed_is_another_record():
    one, two = measured(seed=0).record["protocol"], measured(seed=1).record["protocol"]
    assert {**one, "seed": 1} == two and one != two


def test_warnings_go_into_the_record(caplog):
    """Cross-entropy of logits that are ten thousand times as large is 0, and only Square breaks what is left."""
    model = brightness()
    model.get_layer("fc").set_weights([1e4 * weight for weight in model.get_layer("fc").get_weights()])
    record, _ = measured(of=target(model))
    saturated, masked = record["protocol"]["warnings"]
    assert saturated.startswith("The softmax of 8 of 8 images is exactly 1")
    assert masked.startswith("Square broke 25.00 % of the images after the attacks by gradients.")
    assert record["protocol"]["per_attack"] == {"clean": 8, "apgd-ce": 8, "square": 6}
    assert [one.message for one in caplog.records if one.name.startswith("acl_tf")] == [saturated, masked]


def smoothed() -> Target:
    model = functools.partial(brightness(classes=4), training=False)
    return Target(SmoothedClassifier(model, 0.1, 20, 3), SmoothedClassifier(model, 0.1, 1, 3), 4)


def test_a_stochastic_target_is_attacked_by_the_version_for_such():
    record, _ = measured({"epsilon": 10 / 255}, smoothed())
    protocol = record["protocol"]
    assert (protocol["version"], protocol["attacks"], protocol["eot"]) == ("rand", ["apgd-ce", "apgd-dlr"], 20)
    assert not any("stochastic" in warning for warning in protocol["warnings"])
    chosen = measured({"epsilon": 10 / 255, "version": "standard"}, smoothed()).record["protocol"]
    assert (chosen["version"], chosen["eot"]) == ("standard", 1)


def test_of_a_smoothed_model_two_runs_are_the_same():
    """Whatever the batch size: noise is a function of seed, image and step."""
    settings = {"epsilon": 10 / 255, "attacks": ("apgd-ce",)}
    first = measured(settings, smoothed())
    second = measured(settings, smoothed(), batch_size=3)
    np.testing.assert_array_equal(first.withstood, second.withstood)
    assert same(first.record)["protocol"]["per_attack"] == same(second.record)["protocol"]["per_attack"]


# What is wrong


def test_too_few_classes():
    with pytest.raises(UsageError, match=r"^apgd-t needs at least 4 classes; use attacks=apgd-ce\+fab-t\+square"):
        measured({})


def test_a_model_without_a_gradient():
    model = brightness()
    stopped = Target(lambda images: tf.stop_gradient(model(images)), lambda images: tf.stop_gradient(model(images)), 2)
    with pytest.raises(UsageError, match=r"^No gradient of the logits reaches the images"):
        measured(of=stopped)


# Progress, interruption and records


def test_progress():
    said = []
    measured(progress=lambda *what: said.append(what), batch_size=4)
    assert {title for title, *_ in said} == {"autoattack apgd-ce", "autoattack square"}
    assert said[-1] == ("autoattack square", 6, 6, "0 left, robust accuracy 75.00 %")
    assert [done for title, done, *_ in said if title.endswith("square")] == sorted(
        done for title, done, *_ in said if title.endswith("square")
    )


class Interrupting:
    """Progress that sends a signal at a given call."""

    def __init__(self, after: int) -> None:
        self.after, self.titles = after, []

    def __call__(self, title: str, done: int, total: int, note: str = "") -> None:
        self.titles.append(title)
        if len(self.titles) == self.after:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[Measured, int]:
    """A whole measurement, and how often it told its progress."""
    calls = Interrupting(0)
    return measured(batch_size=3, progress=calls), len(calls.titles)


@pytest.mark.parametrize("after", [1, 4])
def test_interrupted_and_resumed_it_is_the_same(uninterrupted, tmp_path, after):
    whole, calls = uninterrupted
    progress = Interrupting(after)
    with pytest.raises(Interrupted) as error, Interruption() as interruption:
        measured(batch_size=3, unfinished=Unfinished(tmp_path), interruption=interruption, progress=progress)
    assert "images of autoattack " in str(error.value) and "--resume" in str(error.value)
    (file,) = tmp_path.iterdir()
    with np.load(file) as arrays:
        spent = arrays["seconds_per_attack"]
        assert arrays["seconds"] == spent.sum() > 0
    again = Interrupting(0)
    resumed = measured(batch_size=3, unfinished=Unfinished(tmp_path), progress=again)
    assert same(resumed.record) == same(whole.record)
    np.testing.assert_array_equal(resumed.withstood, whole.withstood)
    assert len(progress.titles) == after and len(again.titles) <= calls - after + 2  # what was under way
    assert resumed.record["seconds"] >= spent.sum()


@pytest.fixture(scope="module")
def left(tmp_path_factory) -> tuple[Measured, Path]:
    """A measurement, and the folder that holds what it found."""
    folder = tmp_path_factory.mktemp("left")
    return measured(unfinished=Unfinished(folder)), folder


def test_a_finished_measurement_is_not_repeated(left, tmp_path):
    whole, folder = left
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    again = Interrupting(0)
    resumed = measured(unfinished=Unfinished(tmp_path), progress=again)
    assert same(resumed.record) == same(whole.record) and again.titles == []
    assert resumed.record["seconds_per_attack"] == whole.record["seconds_per_attack"]


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"epsilon": 11 / 255, "attacks": "apgd-ce+square"}},
        {"settings": {"epsilon": 10 / 255, "attacks": "square+apgd-ce"}},
        {"seed": 1},
        {"model_sha256": "other"},
        {"images": greys().first(7)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_another_measurement_left_is_not_taken_up(left, tmp_path, change):
    shutil.copytree(left[1], tmp_path, dirs_exist_ok=True)
    progress = Interrupting(0)
    measured(unfinished=Unfinished(tmp_path), progress=progress, **change)
    assert progress.titles != []


def test_a_repeated_measurement_takes_the_place_of_the_earlier_one(tmp_path):
    """Also where chance, or a new version of the software, has found something else."""
    record = measured().record
    protocol = {**record["protocol"], "per_attack": {"clean": 8, "apgd-ce": 7, "square": 5}, "warnings": ["careful"]}
    other = {**record, "value": 0.625, "protocol": protocol, "seconds_per_attack": {"apgd-ce": 9.0, "square": 9.0}}
    for one in (record, other):
        add_records(tmp_path / "records.jsonl", [one])
    assert read_file(tmp_path / "records.jsonl") == [other]
    different = {**record, "protocol": {**record["protocol"], "epsilon": 0.5}}
    add_records(tmp_path / "records.jsonl", [different])
    assert read_file(tmp_path / "records.jsonl") == [other, different]


# Settings

NAMES = "some of apgd-ce, apgd-dlr, apgd-t, fab, fab-t, square, each once, joined by +"


def parsed(text: str) -> AutoAttackAccuracy:
    evaluator = parse_attack(text)
    assert evaluator.name == "autoattack" and isinstance(evaluator, AutoAttackAccuracy)
    return evaluator


def test_settings_without_parameters():
    evaluator = parsed("autoattack")
    assert (evaluator.settings.norm, evaluator.epsilon, evaluator.settings.attacks) == ("linf", 8 / 255, None)


def test_every_parameter():
    settings = parsed("autoattack:version=plus,norm=l2,epsilon=1/2,attacks=apgd-ce+fab-t").settings
    assert settings == AutoAttackAccuracy.Settings(version="plus", norm="l2", epsilon=0.5, attacks=("apgd-ce", "fab-t"))
    assert parsed("autoattack:attacks=square").settings.attacks == ("square",)


@pytest.mark.parametrize("norm, epsilon", [("linf", 8 / 255), ("l2", 0.5), ("l1", 12.0)])
def test_the_default_radius_depends_on_the_norm(norm, epsilon):
    assert parsed(f"autoattack:norm={norm}").epsilon == epsilon
    assert parsed(f"autoattack:norm={norm},epsilon=3").epsilon == 3


@pytest.mark.parametrize("stochastic, default", [(False, "standard"), (True, "rand")])
def test_the_default_version_depends_on_the_model(stochastic, default):
    assert parsed("autoattack").version(stochastic) == default
    for version in ("standard", "plus", "rand"):
        assert parsed(f"autoattack:version={version}").version(stochastic) == version


@pytest.mark.parametrize(
    "text, reason",
    [
        ("version=custom", "Configuration key version: expected 'standard', 'plus' or 'rand'. Received: 'custom'"),
        ("norm=l3", "Configuration key norm: expected 'linf', 'l2' or 'l1'"),
        ("epsilon=0", "Configuration key epsilon: expected greater than 0. Received: 0"),
        ("attacks=pgd", f"Configuration key attacks: expected {NAMES}. Received: 'pgd'"),
        ("attacks=square+square", f"Configuration key attacks: expected {NAMES}. Received: 'square+square'"),
        ("attacks=square+", f"Configuration key attacks: expected {NAMES}. Received: 'square+'"),
        ("steps=5", "Unknown configuration key steps"),
    ],
)
def test_settings_that_are_wrong(text, reason):
    with pytest.raises(UsageError) as error:
        parse_attack(f"autoattack:{text}")
    assert str(error.value).startswith(f"The attack 'autoattack:{text}' is not as it should be. {reason}")


def test_lists_that_are_none():
    for names in ((), ("square", "square"), ("pgd",)):
        with pytest.raises(ValueError, match="each once, joined by"):
            AutoAttackAccuracy.Settings(attacks=names)


def test_a_transfer():
    with pytest.raises(UsageError) as error:
        parsed("autoattack").check(Circumstances(10, transfer=True))
    assert str(error.value) == (
        "AutoAttack is for the model that it sees; use pgd for a black-box transfer. "
        "Received: --attack autoattack, --surrogate"
    )


def test_several_replicas():
    with pytest.raises(UsageError) as error:
        parsed("autoattack").check(Circumstances(10, replicas=2))
    assert str(error.value) == "AutoAttack runs on one device. Received: --attack autoattack, 2 replicas"
    parsed("autoattack").check(Circumstances(10))


@pytest.mark.parametrize(
    "classes, text", [(3, "autoattack"), (2, "autoattack:version=rand"), (2, "autoattack:attacks=apgd-dlr")]
)
def test_too_few_classes_are_said_before_anything_is_attacked(classes, text):
    with pytest.raises(UsageError, match=f"use attacks=apgd-ce.*Received: {classes} classes"):
        parsed(text).check(Circumstances(classes))
    parsed("autoattack").check(Circumstances(3, stochastic=True))  # whose version has no targets
