import numpy as np
import pytest

from acl_tf.evaluate.base import Evaluation
from acl_tf.evaluate.parse import parse_attack
from acl_tf.evaluate.worst_case import worst_case
from tests.evaluate.scenes import classifier, kept, noise, random_weights

WITHSTOOD = np.random.default_rng(0).random((4, 50)) < 0.7


def records(count: int) -> list[dict]:
    about = {"metric": "robust_accuracy", "n": 50, "dataset": "some", "split": "test", "model_sha256": "5a"}
    return [
        {**about, "value": 0.5, "protocol": {"attack": name, "seed": 3}, "date": "now", "seconds": 0.125}
        for name in "abcd"[:count]
    ]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_an_image_is_robust_that_withstands_every_attack(count):
    measured = list(zip(records(count), WITHSTOOD[:count], strict=True))
    expected = sum(all(row[image] for row in WITHSTOOD[:count]) for image in range(50)) / 50
    record = worst_case(measured)
    assert record["value"] == expected
    if count > 1:
        assert expected < WITHSTOOD[:count].mean(axis=1).min()  # no attack alone is as bad


def test_its_record():
    record = worst_case(list(zip(records(2), WITHSTOOD[:2], strict=True)))
    assert record["protocol"] == {
        "attack": "worst_case",
        "attacks": [{"attack": "a", "seed": 3}, {"attack": "b", "seed": 3}],
        "seed": 3,
    }
    assert record["seconds"] == 0.25
    assert (record["metric"], record["n"], record["dataset"]) == ("robust_accuracy", 50, "some")


def test_of_real_attacks():
    """In l∞, in l2, and a single step, which fool different images."""
    weights = random_weights()
    images = noise(weights)
    evaluation = Evaluation(images, seed=5)
    attacks = [parse_attack(text) for text in ("pgd:epsilon=0.01", "pgd:norm=l2,epsilon=0.08", "pgd:steps=1")]
    measured = [attack.measure(evaluation, classifier(weights)) for attack in attacks]
    expected = np.mean([all(rows) for rows in zip(*(withstood for _, withstood in measured))])
    record = worst_case(measured)
    assert record["value"] == expected <= min(one["value"] for one, _ in measured)
    assert record["protocol"]["attacks"] == [one["protocol"] for one, _ in measured]
    assert kept(record).keys() == kept(measured[0][0]).keys()


def test_no_attack():
    with pytest.raises(ValueError) as error:
        worst_case([])
    assert str(error.value) == "`measured` must hold at least one attack. Received: []"
