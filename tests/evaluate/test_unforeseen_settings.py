import json
import math
import re

import pytest

from acl_tf.attacks.pgd import L2PGD, LinfPGD
from acl_tf.attacks.unforeseen.latent import LatentAttack
from acl_tf.errors import UsageError
from acl_tf.evaluate import EVALUATORS, unforeseen
from acl_tf.evaluate.attack_settings import parse_attack
from acl_tf.evaluate.unforeseen_settings import DISTORTION_ATTACKS, DISTORTIONS, UnforeseenSettings
from tests.conftest import shared

TEN = "linf+l2+l1+jpeg_linf+jpeg_l2+jpeg_l1+elastic+fog+snow+gabor"
# As the facts of the field call them.
NAMES = {"l∞": "linf", "l2": "l2", "l1": "l1", "l∞-JPEG": "jpeg_linf", "l1-JPEG": "jpeg_l1", "elastic": "elastic"}


def test_by_default_all_distortions_at_all_strengths():
    name, settings = parse_attack("unforeseen")
    assert (name, settings) == ("unforeseen", UnforeseenSettings())
    assert settings.distortions == TEN and settings.names == TEN.split("+") == list(DISTORTIONS)
    assert settings.numbers == [1, 2, 3, 4, 5, 6]
    assert (settings.steps, settings.targets, settings.eot) == (30, "random", None)
    assert EVALUATORS[name] is unforeseen.run


def test_every_parameter():
    settings = parse_attack("unforeseen:distortions=snow+l1,strengths=6+2,steps=200,targets=none,eot=3")[1]
    assert settings == UnforeseenSettings(distortions="l1+snow", strengths="2+6", steps=200, targets="none", eot=3)
    assert (settings.names, settings.numbers) == (["l1", "snow"], [2, 6])
    assert parse_attack("unforeseen:strengths=3")[1].numbers == [3]


def test_strengths_and_accuracies_are_the_published_ones():
    found = {}
    for line in shared("methods.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = re.sub(r" \(.*", "", cells[0])
        if len(cells) == 3 and name in NAMES:
            found[NAMES[name]] = tuple(tuple(map(float, cell.split())) for cell in cells[1:])
    assert found.keys() == set(NAMES.values())
    for name, (epsilons, trained) in found.items():
        assert DISTORTIONS[name].epsilons == epsilons
        assert tuple(round(100 * accuracy, 6) for accuracy in DISTORTIONS[name].trained) == trained


def test_six_growing_strengths():
    for name, distortion in DISTORTIONS.items():
        assert len(distortion.epsilons) == 6 and list(distortion.epsilons) == sorted(set(distortion.epsilons)), name
        assert (distortion.trained is None) == (name in ("fog", "snow", "gabor"))


@pytest.mark.parametrize("name", DISTORTIONS)
def test_attacks(name):
    """Epsilon in levels of 255 becomes one in pixels of [0, 1]; others stay."""
    settings = UnforeseenSettings(steps=25)
    attack = unforeseen.build_attack(settings, name, 3)
    assert isinstance(attack, DISTORTION_ATTACKS[name]) and isinstance(attack, (LatentAttack, LinfPGD, L2PGD))
    epsilon = DISTORTIONS[name].epsilons[2]
    expected = epsilon / 255 if name in ("linf", "l2", "l1", "fog", "gabor") else epsilon
    assert math.isclose(attack.epsilon, expected) and attack.steps == 25
    half = {"fog": 0.5, "snow": 0.5, "gabor": 1.0, "l1": 0, "jpeg_l1": 0}.get(name, expected)
    assert math.isclose(attack.step_size, half / 5)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_protocols_are_json(name):
    protocol = UnforeseenSettings().protocol("unforeseen", 7, name, 2)
    assert json.loads(json.dumps(protocol)) == protocol
    assert (protocol["distortion"], protocol["strength"], protocol["seed"]) == (name, 2, 7)
    assert protocol["epsilon"] == DISTORTIONS[name].epsilons[1]


def test_a_protocol():
    assert UnforeseenSettings(steps=16).protocol("unforeseen", 3, "elastic", 5) == {
        "attack": "unforeseen",
        "distortion": "elastic",
        "strength": 5,
        "epsilon": 2,
        "unit": "pixels of distance",
        "steps": 16,
        "step_size": 0.5,
        "targets": "random",
        "eot": 1,
        "seed": 3,
    }
    assert UnforeseenSettings().protocol("unforeseen", 3, "l1", 5)["step_size"] is None


def test_gradients_of_a_stochastic_model_are_averaged():
    for eot, stochastic, expected in ((None, False, 1), (None, True, 20), (5, True, 5), (5, False, 5)):
        protocol = UnforeseenSettings(eot=eot).protocol("unforeseen", 0, "fog", 1, stochastic)
        assert protocol["eot"] == expected


@pytest.mark.parametrize(
    "text, reason",
    [
        (
            "distortions=gabour",
            "Configuration key distortions: expected different ones of linf, l2, l1, jpeg_linf, jpeg_l2, jpeg_l1, "
            "elastic, fog, snow, gabor, joined by +; did you mean \"gabor\"? Received: 'gabour'",
        ),
        (
            "distortions=fog+fog",
            "Configuration key distortions: expected different ones of linf, l2, l1, jpeg_linf, jpeg_l2, jpeg_l1, "
            "elastic, fog, snow, gabor, joined by +. Received: 'fog+fog'",
        ),
        (
            "strengths=0",
            "Configuration key strengths: expected different ones of 1 to 6, joined by +. Received: 0",
        ),
        (
            "strengths=1+1",
            "Configuration key strengths: expected different ones of 1 to 6, joined by +. Received: '1+1'",
        ),
        ("targets=all", "Configuration key targets: expected 'random' or 'none'. Received: 'all'"),
        ("steps=0", "Configuration key steps: expected greater than or equal to 1. Received: 0"),
    ],
)
def test_what_is_wrong(text, reason):
    with pytest.raises(UsageError) as error:
        parse_attack(f"unforeseen:{text}")
    assert str(error.value) == f"The attack 'unforeseen:{text}' is not as it should be. {reason}"
