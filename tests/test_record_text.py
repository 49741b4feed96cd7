import pytest

from acl_tf import record_text
from acl_tf.nested import flat
from acl_tf.printable import printable
from tests.report.folders import PGD


@pytest.mark.parametrize(
    "value, text",
    [
        (8 / 255, "8/255"),
        (0.03137254901960784, "8/255"),
        (1 / 255, "1/255"),
        (0.1, "0.1"),
        (0.2, "0.2"),  # is 51/255 as well
        (0.5, "0.5"),
        (128 / 255, "128/255"),
        (0.0312345, "0.0312345"),
        (0, "0"),
        (1, "1"),
        ("odd", "odd"),
    ],
)
def test_epsilon(value, text):
    assert record_text.epsilon(value) == text


@pytest.mark.parametrize(
    "protocol, text",
    [
        ({"attack": "none"}, "none"),
        ({}, "none"),
        (PGD, "PGD-20 l∞ 8/255, 1 restart"),
        ({**PGD, "steps": 7, "restarts": 5}, "PGD-20 l∞ 8/255, 7 steps, 5 restarts"),
        ({"attack": "autoattack", "norm": "l2", "epsilon": 0.5}, "AutoAttack l2 0.5"),
        ({"attack": "worst_case", "norm": "linf", "epsilon": 0.1}, "worst case l∞ 0.1"),
        ({"attack": "fgsm", "norm": "linf", "epsilon": 4 / 255, "targeted": True}, "FGSM l∞ 4/255, targeted"),
        ({"attack": "none", "corruption": "fog", "severity": 3}, "fog, severity 3"),
        ({"attack": "none", "corruption": "glass_blur", "severity": "mean"}, "glass blur"),
        ({"attack": "none", "corruption": "mean_15", "severity": "mean"}, "mean of 15 corruptions"),
        ({"attack": "none", "sigma": 0.25, "radius": 0.5}, "none, sigma 0.25, radius 0.5"),
        ({"attack": "none", "norm": "l2", "sigma": 0.25, "radius": 0.5}, "none, sigma 0.25, l2 radius 0.5"),
        (
            {**PGD, "eot": 20, "sigma": 0.12, "samples": 100},
            "PGD-20 l∞ 8/255, 1 restart, EOT 20, sigma 0.12, 100 draws",
        ),
        ({**PGD, "eot": 1}, "PGD-20 l∞ 8/255, 1 restart"),
        (
            {"attack": "unforeseen", "distortion": "jpeg_linf", "strength": 3, "epsilon": 0.125, "steps": 30, "eot": 1},
            "unforeseen l∞-JPEG, strength 3, 30 steps",
        ),
        ({"attack": "unforeseen", "distortion": "snow", "strength": "mean", "steps": 1}, "unforeseen snow, 1 step"),
        ({"attack": "unforeseen", "distortion": "mean_10", "strength": "mean"}, "unforeseen mean of 10 distortions"),
        ({"attack": "unforeseen", "distortion": "\n", "strength": "\t"}, "unforeseen \\n, strength \\t"),
        ({"attack": "a\x1b[31m", "norm": "\n"}, "a\\x1b[31m \\n"),
    ],
)
def test_attack(protocol, text):
    assert record_text.attack(protocol) == text


def test_number():
    assert record_text.number({"metric": "robust_accuracy", "value": 0.45678}) == "45.68"
    assert record_text.number({"metric": "uar", "value": 0.45678}) == "45.68"
    assert record_text.number({"metric": "radius", "value": 0.45678}) == "0.4568"
    about = {"metric": "average_certified_radius", "value": 0.45678, "protocol": {"norm": "l2"}}
    assert record_text.number(about) == "0.4568 l2"
    assert record_text.number({"metric": "abstention", "value": 0.45678}) == "45.68"


def test_printable():
    assert printable("naïve l∞ ok") == "naïve l∞ ok"
    assert printable("a\x1b[2J\udc80\t") == "a\\x1b[2J\\udc80\\t"


@pytest.mark.parametrize(
    "record, cells",
    [
        (
            {"metric": "robust_accuracy", "value": 0.451, "n": 360, "dataset": "digits", "split": "test"}
            | {"protocol": {**PGD, "seed": 0}},
            ("robust_accuracy", "PGD-20 l∞ 8/255, 1 restart", "45.10", "360", "digits/test", "0"),
        ),
        ({"metric": "radius", "value": 0.5, "protocol": {}}, ("radius", "none", "0.5", "", "", "")),
        (
            {"metric": "\x1bm", "value": 1, "n": "\n", "dataset": "\udc80", "protocol": {"seed": "\t"}},
            ("\\x1bm", "none", "1", "\\n", "\\udc80", "\\t"),
        ),
    ],
)
def test_cells(record, cells):
    assert record_text.cells(record) == cells
    assert len(record_text.COLUMNS) == len(cells)


def test_flat():
    assert flat({"a": 1, "b": {"c": {"d": [2]}}}) == {"a": 1, "b.c.d": [2]}
