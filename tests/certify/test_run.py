"""Certificates of classifiers whose radii are known, and what a certification leaves."""

import functools
import json
import os
import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import acl_tf
from acl_tf.certify import run as certifying
from acl_tf.certify.bounds import certified_radius, lower_confidence_bound
from acl_tf.certify.certificates import read_certificates
from acl_tf.certify.config import CertifyConfig
from acl_tf.certify.run import certify
from acl_tf.certify.vote_counter import VoteCounter
from acl_tf.classifiers.smoothed import ESTIMATION, SELECTION, SmoothedClassifier, gaussian_noise
from acl_tf.config import build
from acl_tf.errors import Interrupted, UsageError
from acl_tf.model_folder.manifest import verify
from acl_tf.records import read_file
from tests.evaluate.scenes import (
    classifier,
    kept,
    noise,
    random_weights,
    scores,
    write_classifier,
    write_images,
)

COUNT, SIGMA, N = 12, 0.25, 3000
IMAGES = noise(random_weights(), COUNT)
DISTANCES = np.abs(scores(random_weights(), IMAGES.images)) / np.linalg.norm(random_weights())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model folder and images; not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    write_classifier(folder / "run" / "model", classifier(random_weights()))
    write_images(folder / "noise.npz", IMAGES)
    return folder


@pytest.fixture
def place(made, tmp_path):
    return shutil.copytree(made, tmp_path / "place")


def config(place, **settings) -> CertifyConfig:
    data = {"dataset": str(place / "noise.npz"), **settings.pop("data", {})}
    values = {"model": str(place / "run" / "model"), "sigma": SIGMA, "n": N, "batch_size": 500, "data": data}
    return build(CertifyConfig, {**values, **settings})


def certificates(place, output: str = "out"):
    (file,) = (place / output).glob("certificates-*.jsonl")
    return read_certificates(file)[1]


def counter(at_once: int = 500, sigma: float = SIGMA, seed: int = 0) -> VoteCounter:
    model = functools.partial(classifier(random_weights()), training=False)
    return VoteCounter(SmoothedClassifier(model, sigma, 1, seed), 2, at_once)


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """The records and the certificates of a certification that nothing disturbed."""
    place = shutil.copytree(made, tmp_path_factory.mktemp("whole") / "place")
    records = certify(config(place), place / "out")
    return [kept(record) for record in records], [kept(c._asdict()) for c in certificates(place)]


# What is certified


def test_radii_of_a_linear_classifier(whole):
    """In the limit the distance to the boundary; of finite draws what the bound leaves of it."""
    for row, certificate in enumerate(whole[1]):
        assert certificate["image"] == row and certificate["label"] == IMAGES.labels[row]
        assert sum(certificate["counts"]) == N
        votes = certificate["counts"][IMAGES.labels[row]]
        probability = stats.norm.cdf(DISTANCES[row] / SIGMA)
        assert abs(votes / N - probability) < 4 * np.sqrt(probability * (1 - probability) / N)
        lower = lower_confidence_bound(votes, N, 0.001)
        assert certificate["radius"] <= DISTANCES[row]
        assert certificate["certified"] in (None, IMAGES.labels[row])
        if probability > 0.65:  # else a hundred draws may choose the other class
            assert certificate["certified"] == certificate["predicted"] == IMAGES.labels[row]
            assert certificate["radius"] == pytest.approx(certified_radius(lower, SIGMA))
    assert sum(certificate["certified"] is not None for certificate in whole[1]) > COUNT / 2
    assert len({tuple(certificate["counts"]) for certificate in whole[1]}) > COUNT / 2


def test_with_many_draws_the_radius_is_the_distance():
    row = int(np.argsort(DISTANCES)[COUNT // 2])
    image = IMAGES.images[row].astype(np.float32) / np.float32(255)
    counts = counter(10_000)(image, row, ESTIMATION, 1_000_000)
    lower = lower_confidence_bound(int(counts.max()), 1_000_000, 0.001)
    assert counts.argmax() == IMAGES.labels[row]
    assert certified_radius(lower, SIGMA) == pytest.approx(DISTANCES[row], abs=0.003)


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_sigma_scales_the_noise(sigma):
    row = int(np.argmax(DISTANCES))
    image = IMAGES.images[row].astype(np.float32) / np.float32(255)
    share = counter(sigma=sigma)(image, row, ESTIMATION, 20_000)[IMAGES.labels[row]] / 20_000
    assert share == pytest.approx(stats.norm.cdf(DISTANCES[row] / sigma), abs=0.012)


def test_selection_and_estimation_have_noise_of_their_own():
    """The draws that choose the class must not be among those that prove it."""
    seeds = [counter().smoothed.seeds(use, tf.constant([0])) for use in (SELECTION, ESTIMATION)]
    one, other = (gaussian_noise(seed[0], 0, 100, (4, 4, 3)).numpy() for seed in seeds)
    assert np.isin(one, other).mean() < 0.01
    image = IMAGES.images[0].astype(np.float32) / np.float32(255)
    assert not np.array_equal(*(counter()(image, 0, use, 10_000) for use in (SELECTION, ESTIMATION)))


def test_the_selected_class_is_not_chosen_by_the_estimation(place, monkeypatch):
    """The first draws of each image say one class, all others the other: nothing can be certified."""

    def votes(self, image, index, use, draws):
        return np.array([draws, 0]) if use == SELECTION else np.array([0, draws])

    monkeypatch.setattr(VoteCounter, "__call__", votes)
    certify(config(place), place / "out")
    assert {certificate.certified for certificate in certificates(place)} == {None}
    assert {certificate.predicted for certificate in certificates(place)} == {1}


# Records


def test_records(whole):
    records, found = whole
    assert [record["metric"] for record in records] == [
        "accuracy",
        "abstention",
        *["certified_accuracy"] * 3,  # 3,000 draws prove up to 0.709
        "average_certified_radius",
    ]
    protocol = {"attack": "none", "sigma": SIGMA, "n0": 100, "n": N, "alpha": 0.001, "seed": 0}
    assert records[0]["protocol"] == records[1]["protocol"] == protocol
    certified = [record for record in records if record["metric"] == "certified_accuracy"]
    for record, radius in zip(certified, (0.0, 0.25, 0.5), strict=True):
        assert record["protocol"] == {**protocol, "norm": "l2", "radius": radius}
        right = [c["certified"] == c["label"] and c["radius"] >= radius for c in found]
        assert record["value"] == np.mean(right) and record["n"] == COUNT
    assert records[0]["value"] == np.mean([c["predicted"] == c["label"] for c in found])
    assert records[1]["value"] == np.mean([c["certified"] is None for c in found])
    radii = [c["radius"] if c["certified"] == c["label"] else 0.0 for c in found]
    assert records[-1]["value"] == pytest.approx(np.mean(radii))
    assert 0 < records[-1]["value"] < 0.5 < certified[0]["value"] <= records[0]["value"]


def test_radii_up_to_the_largest_that_can_be_proven(place):
    few = certify(config(place, n=100, sigma=0.1, data={"limit": 1}), place / "out")
    assert [record["protocol"].get("radius") for record in few] == [None, None, 0.0, None]


def test_where_they_go(place):
    records = certify(config(place, data={"limit": 2}), place / "out")
    assert read_file(place / "out" / "records.jsonl") == records == acl_tf.load(str(place / "run")).records
    verify(place / "run" / "model")
    names = sorted(file.name for file in (place / "out").iterdir())
    assert len(names) == 2 and names[1] == "records.jsonl"
    again = certify(config(place, data={"limit": 2}), place / "out")
    assert read_file(place / "out" / "records.jsonl") == again
    (before,) = (place / "out").glob("certificates-*.before")  # nothing that may have taken days is lost
    assert len(before.read_text().splitlines()) == 3
    certify(config(place, data={"limit": 2}, sigma=0.5), place / "out")
    assert len(list((place / "out").glob("certificates-*.jsonl"))) == 2


def test_another_seed_is_other_noise(place, whole):
    certify(config(place, seed=1), place / "out")
    counts = [certificate.counts for certificate in certificates(place)]
    assert sum(mine != other["counts"] for mine, other in zip(counts, whole[1], strict=True)) > COUNT / 2


# What changes nothing


@pytest.mark.parametrize("batch_size", [1, 7, 64, 100_000])
def test_the_batch_size(place, whole, batch_size):
    small = {"n": 200, "data": {"limit": 3}}
    records = [kept(r) for r in certify(config(place, batch_size=batch_size, **small), place / "one")]
    assert records == [kept(r) for r in certify(config(place, batch_size=50, **small), place / "two")]
    mine, other = ([c.counts for c in certificates(place, name)] for name in ("one", "two"))
    assert mine == other


def test_how_many_images_there_are(place, whole):
    """An image's votes depend on its own index in the data set."""
    certify(config(place, every=5), place / "out")
    some = [kept(certificate._asdict()) for certificate in certificates(place)]
    assert some == whole[1][::5]
    record = read_file(place / "out" / "records.jsonl")[0]
    assert (record["n"], record["protocol"]["every"]) == (3, 5)


def test_how_long_calls_are(monkeypatch):
    image = IMAGES.images[0].astype(np.float32) / np.float32(255)
    whole = counter()(image, 0, ESTIMATION, 5000)
    monkeypatch.setattr("acl_tf.certify.vote_counter.SECONDS_OF_A_CALL", 1e-9)
    short = counter(100)
    np.testing.assert_array_equal(short(image, 0, ESTIMATION, 5000), whole)
    assert short.batches == 1


# Interruptions


def stop_after(monkeypatch, images: int) -> list[int]:
    """Sends a signal while the image of that number is under way; returns what is begun."""
    begun: list[int] = []
    original = VoteCounter.__call__

    def call(self, image, index, use, draws):
        begun.append(index)
        if len(begun) == 2 * images + 2:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, image, index, use, draws)

    monkeypatch.setattr(VoteCounter, "__call__", call)
    return begun


@pytest.mark.parametrize("after", [0, 4, 11])
def test_interrupted_and_resumed_it_is_the_same(place, whole, monkeypatch, after):
    stop_after(monkeypatch, after)
    with pytest.raises(Interrupted) as error:
        certify(config(place), place / "out")
    assert str(error.value) == (
        "Interrupted by SIGINT; the images that are done are kept. Go on by the same command with --resume."
    )
    assert error.value.exit_code == 130 and len(certificates(place)) == after
    assert not (place / "out" / "records.jsonl").exists()
    monkeypatch.undo()
    begun = stop_after(monkeypatch, 99)
    records = certify(config(place), place / "out", resume=True)
    assert [kept(record) for record in records] == whole[0]
    assert [kept(certificate._asdict()) for certificate in certificates(place)] == whole[1]
    assert sorted(set(begun)) == list(range(after, COUNT))
    begun.clear()
    assert [kept(r) for r in certify(config(place), place / "out", resume=True)] == whole[0] and not begun


def test_a_line_that_is_cut_short_is_done_again(place, whole, caplog):
    certify(config(place), place / "out")
    (file,) = (place / "out").glob("certificates-*")
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:6])[:-20])
    assert [kept(r) for r in certify(config(place), place / "out", resume=True)] == whole[0]
    assert [kept(certificate._asdict()) for certificate in certificates(place)] == whole[1]
    (message,) = caplog.messages
    assert message.startswith(f"{file}, line 6, is damaged (") and message.endswith("); it continues from there.")


def test_without_resuming_it_begins_afresh(place, monkeypatch):
    certify(config(place, data={"limit": 2}, n=100), place / "out")
    begun = stop_after(monkeypatch, 99)
    certify(config(place, data={"limit": 2}, n=100), place / "out")
    assert begun == [0, 0, 1, 1] and len(certificates(place)) == 2


def test_progress(place, monkeypatch):
    said = []

    class Progress:
        def __enter__(self):
            return lambda *what: said.append(what)

        def __exit__(self, *error) -> None:
            pass

    monkeypatch.setattr(certifying, "EvaluationProgress", Progress)
    records = certify(config(place), place / "out")
    assert said[0] == ("sigma 0.25", 0, COUNT, "") and len(said) == COUNT + 1
    share = round(COUNT * records[1]["value"])
    assert said[-1] == ("sigma 0.25", COUNT, COUNT, f"certified {100 * records[2]['value']:.1f} %, {share} abstentions")


# What is wrong, or looks so


def test_a_model_of_other_noise(place, caplog):
    write_classifier(place / "noisy", classifier(random_weights()), recipe={"method": {"sigma": 0.12}})
    few = {"n": 100, "data": {"limit": 1}}
    certify(config(place, model=str(place / "noisy"), **few), place / "out")
    assert caplog.messages == [f"{place}/noisy was trained on noise of sigma 0.12; it is smoothed by sigma 0.25."]
    caplog.clear()
    certify(config(place, model=str(place / "noisy"), sigma=0.12, **few), place / "out")
    assert caplog.messages == []


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"sigma": 0.0}, "Configuration key sigma: expected greater than 0. Received: 0.0"),
        ({"alpha": 1.0}, "Configuration key alpha: expected less than 1. Received: 1.0"),
        ({"n0": 0}, "Configuration key n0: expected greater than or equal to 1. Received: 0"),
        ({"every": 0}, "Configuration key every: expected greater than or equal to 1. Received: 0"),
        ({"n": 9}, "9 draws prove nothing at alpha 0.001, even where all agree; raise n. Received: n=9"),
    ],
)
def test_settings_that_are_none(place, settings, message):
    with pytest.raises(UsageError) as error:
        config(place, **settings)
    assert str(error.value) == message


def test_damaged_lines(tmp_path):
    file = tmp_path / "certificates-0.jsonl"
    for text in ("", "[]\n", "{}\n", '{"about": 3}\n'):
        file.write_text(text)
        with pytest.raises(ValueError):
            read_certificates(file)
    file.write_text(json.dumps({"about": {}, "images": 2}) + "\n" + '{"image": 0, "label')
    assert read_certificates(file) == ({}, [])
