import json

import pytest

from acl_tf.attacks import ATTACKS
from acl_tf.errors import UsageError
from acl_tf.evaluate.clean import CleanAccuracy
from acl_tf.evaluate.parse import parse_attack
from acl_tf.evaluate.robust import RobustAccuracy

PGD20 = {
    "attack": "pgd20",
    "norm": "linf",
    "epsilon": 8 / 255,
    "step_size": 2 / 255,
    "steps": 20,
    "restarts": 1,
    "start": "uniform",
    "momentum": 0,
    "loss": "cross_entropy",
    "targeted": False,
    "eot": 1,
    "seed": 7,
}


def test_no_attack():
    evaluator = parse_attack("none")
    assert type(evaluator) is CleanAccuracy and evaluator.name == "none"


def test_pgd20_is_the_published_protocol():
    protocol = parse_attack("pgd20").protocol(7)
    assert protocol == PGD20 and list(protocol) == list(PGD20)


def test_pgd_without_parameters_is_that_too():
    assert parse_attack("pgd").protocol(7) == {**PGD20, "attack": "pgd"}


def test_fgsm_is_one_step_of_the_whole_radius_from_the_image():
    changed = {"attack": "fgsm", "epsilon": 4 / 255, "step_size": 4 / 255, "steps": 1, "start": "zero"}
    assert parse_attack("fgsm:epsilon=4/255").protocol(7) == {**PGD20, **changed}


def test_every_parameter():
    text = (
        "pgd:norm=l2,epsilon=0.5,step_size=1e-1,steps=50,restarts=5,start=zero,momentum=0.75,loss=dlr,"
        "targeted=true,eot=10"
    )
    expected = {
        "norm": "l2",
        "epsilon": 0.5,
        "step_size": 0.1,
        "steps": 50,
        "restarts": 5,
        "start": "zero",
        "momentum": 0.75,
        "loss": "dlr",
        "targeted": True,
        "eot": 10,
    }
    evaluator = parse_attack(text)
    assert evaluator.settings == RobustAccuracy("pgd", **expected).settings
    assert evaluator.protocol(7) == {"attack": "pgd", **expected, "seed": 7}


def test_what_records_did_not_say_before_they_say_where_it_is_set():
    protocol = parse_attack("pgd:norm=l1,epsilon=12,sparsity=0.05,clip_start=true").protocol(7)
    changed = {"attack": "pgd", "norm": "l1", "epsilon": 12, "step_size": 3}
    assert protocol == {**PGD20, **changed, "clip_start": True, "sparsity": 0.05}


def test_an_attack_of_the_registry_needs_no_more_to_be_evaluated():
    assert parse_attack("frank-wolfe:epsilon=6,restarts=2").protocol(7) == {
        "attack": "frank-wolfe",
        "norm": "l1",
        "epsilon": 6,
        "steps": 30,
        "restarts": 2,
        "loss": "cross_entropy",
        "targeted": False,
        "eot": 1,
        "seed": 7,
    }


@pytest.mark.parametrize("text, step_size", [("pgd:epsilon=1", 0.25), ("pgd:epsilon=1,step_size=0", 0.0)])
def test_the_default_step_is_a_quarter_of_the_radius(text, step_size):
    assert parse_attack(text).protocol(0)["step_size"] == parse_attack(text).attack.step_size == step_size


@pytest.mark.parametrize("name", ATTACKS)
def test_protocols_are_json(name):
    protocol = parse_attack(name).protocol(0)
    assert json.loads(json.dumps(protocol)) == protocol


KNOWN = "none, autoattack, unforeseen, fgsm, pgd20, pgd, frank-wolfe"
PARAMETERS = "norm, epsilon, step_size, steps, start, momentum, clip_start, sparsity, restarts, loss, targeted, eot"


def not_as_it_should_be(text: str, reason: str) -> tuple[str, str]:
    return text, f"The attack {text!r} is not as it should be. {reason}"


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "pdg20",
            f'Unknown attack; did you mean "pgd20"? Known: {KNOWN}; parameters follow a colon, for example '
            "pgd:epsilon=8/255,steps=50. Received: 'pdg20'",
        ),
        (
            "",
            f"Unknown attack. Known: {KNOWN}; parameters follow a colon, for example pgd:epsilon=8/255,steps=50. "
            "Received: ''",
        ),
        ("none:epsilon=1", "The attack none has no parameters. Received: 'none:epsilon=1'"),
        not_as_it_should_be(
            "pgd:epsilom=1",
            f'Unknown configuration key epsilom; did you mean "epsilon"? Known there: {PARAMETERS}. Received: 1',
        ),
        not_as_it_should_be(
            "pgd:epsilon=-1/255",
            "Configuration key epsilon: expected greater than or equal to 0. Received: '-1/255'",
        ),
        not_as_it_should_be("pgd:epsilon=.inf", "Configuration key epsilon: expected a finite number. Received: inf"),
        not_as_it_should_be(
            "pgd:step_size=-1",
            "Configuration key step_size: expected greater than or equal to 0. Received: -1",
        ),
        not_as_it_should_be("pgd:steps=0", "Configuration key steps: expected greater than or equal to 1. Received: 0"),
        not_as_it_should_be("pgd:steps=2.5", "Configuration key steps: expected a valid integer. Received: 2.5"),
        not_as_it_should_be(
            "pgd:restarts=0", "Configuration key restarts: expected greater than or equal to 1. Received: 0"
        ),
        not_as_it_should_be("pgd:eot=0", "Configuration key eot: expected greater than or equal to 1. Received: 0"),
        not_as_it_should_be(
            "pgd:norm=l3",
            "Configuration key norm: expected one of linf, l2, l1; did you mean \"l2\"? Received: 'l3'",
        ),
        not_as_it_should_be(
            "pgd:loss=ce",
            "Configuration key loss: expected one of cross_entropy, margin, dlr. Received: 'ce'",
        ),
        not_as_it_should_be(
            "pgd:start=random", "Configuration key start: expected 'uniform', 'normal' or 'zero'. Received: 'random'"
        ),
        not_as_it_should_be(
            "pgd:sparsity=0.1", "Configuration key sparsity: expected no value unless norm is l1. Received: 0.1"
        ),
        not_as_it_should_be(
            "frank-wolfe:step_size=1",
            "Unknown configuration key step_size. Known there: epsilon, steps, restarts, loss, targeted, eot. "
            "Received: 1",
        ),
        not_as_it_should_be("pgd:name=3", f"Unknown configuration key name. Known there: {PARAMETERS}. Received: 3"),
        not_as_it_should_be("pgd20:steps=30", "Configuration key steps: expected 20. Received: 30"),
        not_as_it_should_be("pgd20:restarts=2", "Configuration key restarts: expected 1. Received: 2"),
        not_as_it_should_be("pgd20:norm=l2", "Configuration key norm: expected 'linf'. Received: 'l2'"),
        not_as_it_should_be("fgsm:start=uniform", "Configuration key start: expected 'zero'. Received: 'uniform'"),
    ],
)
def test_what_is_wrong(text, message):
    with pytest.raises(UsageError) as error:
        parse_attack(text)
    assert str(error.value) == message


@pytest.mark.parametrize("text", ["pgd20:step_size=0.1", "pgd20:momentum=0.9", "pgd20:targeted=true", "fgsm:steps=2"])
def test_a_name_that_stands_for_a_protocol_keeps_to_it(text):
    with pytest.raises(UsageError, match="is not as it should be"):
        parse_attack(text)


@pytest.mark.parametrize("text", ["pgd:steps", "pgd:=3", "pgd:steps=[", "pgd:,"])
def test_parameters_that_are_none(text):
    with pytest.raises(UsageError, match=r"^The attack .* is not as it should be") as error:
        parse_attack(text)
    assert "\n" not in str(error.value)
