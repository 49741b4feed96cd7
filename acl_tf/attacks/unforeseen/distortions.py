"""The distortions of the unforeseen attacks, and their strengths."""

import math
from collections.abc import Callable
from typing import NamedTuple

from acl_tf.attacks.base import Attack
from acl_tf.attacks.pgd import PGD
from acl_tf.attacks.unforeseen.elastic import ElasticAttack
from acl_tf.attacks.unforeseen.fog import FogAttack
from acl_tf.attacks.unforeseen.frank_wolfe import L1FrankWolfe
from acl_tf.attacks.unforeseen.gabor import GaborAttack
from acl_tf.attacks.unforeseen.jpeg import L1JPEG, L2JPEG, LinfJPEG
from acl_tf.attacks.unforeseen.snow import SnowAttack

LEVELS = "1/255"  # unit of epsilons that count levels from 0 to 255
STRENGTHS = (1, 2, 3, 4, 5, 6)


class Distortion(NamedTuple):
    """A distortion, which has the strengths `STRENGTHS`.

    Attributes:
        attack: Class of the attack.
        epsilons: Epsilon at each strength.
        unit: Unit of epsilon: `LEVELS`, or that of the class.
        trained: ATA: accuracy at each strength of the best model adversarially trained against the distortion, on
            CIFAR-10; None: the distortion is not calibrated.
        reach: Largest distance of the variables from the middle of their range; None: epsilon.
        stepped: Whether the attack has a step size; Frank–Wolfe attacks have none.
        norm: Norm of the ball, if the class has several.
    """

    attack: Callable[..., Attack]
    epsilons: tuple[float, ...]
    unit: str
    trained: tuple[float, ...] | None = None
    reach: float | None = None
    stepped: bool = True
    norm: str | None = None

    def build(self, strength: int, steps: int) -> Attack:
        """Returns the attack at a strength, from 1 to 6."""
        epsilon = self.epsilons[strength - 1] / (255 if self.unit == LEVELS else 1)
        step_size = self.step_size(epsilon, steps)
        options = {"step_size": step_size, "norm": self.norm}
        given = {name: value for name, value in options.items() if value is not None}
        return self.attack(epsilon=epsilon, steps=steps, **given)

    def step_size(self, epsilon: float, steps: int) -> float | None:
        """Returns the published step size, in the unit of `reach`."""
        if not self.stepped:
            return None
        return (epsilon if self.reach is None else self.reach) / math.sqrt(steps)


# Epsilons and ATA of the first seven are those of Kang et al. for CIFAR-10. The others were calibrated for 224 pixels
# only. Their epsilons here, rounded to two digits, are those at which the random start changes the pixels of CIFAR-10's
# test images by a root mean square of 2, 4, 8, 16, 32 and 64 levels of 255, compared with epsilon 0.
DISTORTIONS = {
    "linf": Distortion(PGD, (1, 2, 4, 8, 16, 32), LEVELS, (0.91, 0.878, 0.816, 0.713, 0.465, 0.231), norm="linf"),
    "l2": Distortion(PGD, (40, 80, 160, 320, 640, 2560), LEVELS, (0.901, 0.864, 0.796, 0.673, 0.499, 0.173), norm="l2"),
    "l1": Distortion(
        L1FrankWolfe,
        (195, 390, 780, 1560, 6240, 24960),
        LEVELS,
        (0.922, 0.9, 0.832, 0.738, 0.474, 0.353),
        stepped=False,
    ),
    "jpeg_linf": Distortion(
        LinfJPEG,
        (0.03125, 0.0625, 0.125, 0.25, 0.5, 1),
        "half quantisation steps",
        (0.897, 0.87, 0.831, 0.786, 0.697, 0.354),
    ),
    "jpeg_l2": Distortion(
        L2JPEG,
        (0.25, 0.5, 1, 2, 4, 8),
        "half quantisation steps",
        (0.922, 0.91, 0.884, 0.858, 0.812, 0.72),
    ),
    "jpeg_l1": Distortion(
        L1JPEG,
        (2, 8, 64, 256, 512, 1024),
        "half quantisation steps",
        (0.914, 0.881, 0.802, 0.689, 0.563, 0.377),
        stepped=False,
    ),
    "elastic": Distortion(
        ElasticAttack,
        (0.125, 0.25, 0.5, 1, 2, 8),
        "pixels of distance",
        (0.874, 0.813, 0.721, 0.582, 0.454, 0.278),
    ),
    "fog": Distortion(FogAttack, (5.8, 12, 25, 57, 150, 870), LEVELS, reach=0.5),
    "snow": Distortion(SnowAttack, (0.018, 0.036, 0.072, 0.15, 0.32, 0.87), "1", reach=0.5),
    "gabor": Distortion(GaborAttack, (2.9, 5.8, 12, 23, 47, 100), LEVELS, reach=1.0),
}
