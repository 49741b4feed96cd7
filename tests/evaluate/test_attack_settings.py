import json

import pytest

from acl_tf.errors import UsageError
from acl_tf.evaluate.attack_settings import AttackSettings, parse_attack

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
    assert parse_attack("none") == ("none", None)


def test_pgd20_is_the_published_protocol():
    name, settings = parse_attack("pgd20")
    assert settings.protocol(name, 7) == PGD20


def test_pgd_without_parameters_is_that_too():
    assert parse_attack("pgd")[1].protocol("pgd", 7) == {**PGD20, "attack": "pgd"}


def test_fgsm_is_one_step_of_the_whole_radius_from_the_image():
    name, settings = parse_attack("fgsm:epsilon=4/255")
    changed = {"attack": "fgsm", "epsilon": 4 / 255, "step_size": 4 / 255, "steps": 1, "start": "zero"}
    assert settings.protocol(name, 7) == {**PGD20, **changed}


def test_every_parameter():
    text = (
        "pgd:norm=l2,epsilon=0.5,step_size=1e-1,steps=50,restarts=5,start=zero,momentum=0.75,loss=dlr,"
        "targeted=true,eot=10"
    )
    name, settings = parse_attack(text)
    assert (name, settings) == (
        "pgd",
        AttackSettings(
            norm="l2",
            epsilon=0.5,
            step_size=0.1,
            steps=50,
            restarts=5,
            start="zero",
            momentum=0.75,
            loss="dlr",
            targeted=True,
            eot=10,
        ),
    )


@pytest.mark.parametrize("text, step_size", [("pgd:epsilon=1", 0.25), ("pgd:epsilon=1,step_size=0", 0.0)])
def test_the_default_step_is_a_quarter_of_the_radius(text, step_size):
    assert parse_attack(text)[1].resolved_step_size == step_size


@pytest.mark.parametrize("name", ["fgsm", "pgd20", "pgd"])
def test_protocols_are_json(name):
    protocol = parse_attack(name)[1].protocol(name, 0)
    assert json.loads(json.dumps(protocol)) == protocol


PARAMETERS = "norm, epsilon, step_size, steps, restarts, start, momentum, loss, targeted, eot"


def not_as_it_should_be(text: str, reason: str) -> tuple[str, str]:
    return text, f"The attack {text!r} is not as it should be. {reason}"


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "pdg20",
            'Unknown attack; did you mean "pgd20"? Known: none, fgsm, pgd20, pgd, autoattack, unforeseen; parameters '
            "follow a colon, for example pgd:epsilon=8/255,steps=50. Received: 'pdg20'",
        ),
        (
            "",
            "Unknown attack. Known: none, fgsm, pgd20, pgd, autoattack, unforeseen; parameters follow a colon, for "
            "example pgd:epsilon=8/255,steps=50. Received: ''",
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
            "pgd:start=random", "Configuration key start: expected 'uniform' or 'zero'. Received: 'random'"
        ),
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
