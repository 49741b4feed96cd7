"""The table of the distortions."""

import math
import re

import pytest

from acl_tf.attacks.pgd import PGD
from acl_tf.attacks.unforeseen.distortions import DISTORTIONS
from acl_tf.attacks.unforeseen.latent import LatentAttack
from tests.conftest import shared

# As the facts of the field call them.
NAMES = {"l∞": "linf", "l2": "l2", "l1": "l1", "l∞-JPEG": "jpeg_linf", "l1-JPEG": "jpeg_l1", "elastic": "elastic"}


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
def test_builds_the_attack(name):
    """Epsilon in levels of 255 becomes one in pixels of [0, 1]; others stay."""
    attack = DISTORTIONS[name].build(3, steps=25)
    assert type(attack) is DISTORTIONS[name].attack and isinstance(attack, LatentAttack | PGD)
    assert attack.norm == {"linf": "linf", "l2": "l2", "l1": "l1"}.get(name)
    epsilon = DISTORTIONS[name].epsilons[2]
    expected = epsilon / 255 if name in ("linf", "l2", "l1", "fog", "gabor") else epsilon
    assert math.isclose(attack.epsilon, expected) and attack.steps == 25
    half = {"fog": 0.5, "snow": 0.5, "gabor": 1.0, "l1": 0, "jpeg_l1": 0}.get(name, expected)
    assert math.isclose(attack.step_size, half / 5)
