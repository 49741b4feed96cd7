"""Unforeseen attacks: their distortions, how strong each is, and what `--attack unforeseen` can set."""

import math
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator

from acl_tf.config import Count
from acl_tf.errors import UsageError
from acl_tf.evaluate.attack_settings import EOT_OF_STOCHASTIC, Circumstances, EvaluatedAttack
from acl_tf.registry import Registry, nearest

LEVELS = "1/255"  # pixels of 0 to 255
STRENGTHS = (1, 2, 3, 4, 5, 6)


class Distortion(NamedTuple):
    """A distortion of `STRENGTHS`.

    Attributes:
        attack: Where its class is.
        epsilons: Of the strengths.
        unit: Of epsilon: `LEVELS`, or that of the class.
        trained: ATA: the accuracy at each strength of the best model adversarially trained against it, on CIFAR-10;
            none where it is not calibrated.
        reach: How far the variables can get from the middle of their range; none: epsilon.
        stepped: Whether steps have a size; those of Frank–Wolfe have none.
    """

    attack: str
    epsilons: tuple[float, ...]
    unit: str
    trained: tuple[float, ...] | None = None
    reach: float | None = None
    stepped: bool = True

    def step_size(self, epsilon: float, steps: int) -> float | None:
        """Returns the published length of a step, in the unit of `reach`."""
        if not self.stepped:
            return None
        return (epsilon if self.reach is None else self.reach) / math.sqrt(steps)


# Epsilons and ATA of the first seven: Kang et al., CIFAR-10. The others are calibrated for 224 pixels only; ours are
# the epsilons at which the random start moves the pixels of CIFAR-10's test images by a root mean square of 2, 4, 8,
# 16, 32 and 64 levels of 255, compared with epsilon 0, rounded to two digits.
DISTORTIONS = {
    "linf": Distortion(
        "acl_tf.attacks.pgd:LinfPGD", (1, 2, 4, 8, 16, 32), LEVELS, (0.91, 0.878, 0.816, 0.713, 0.465, 0.231)
    ),
    "l2": Distortion(
        "acl_tf.attacks.pgd:L2PGD", (40, 80, 160, 320, 640, 2560), LEVELS, (0.901, 0.864, 0.796, 0.673, 0.499, 0.173)
    ),
    "l1": Distortion(
        "acl_tf.attacks.unforeseen.frank_wolfe:L1FrankWolfe",
        (195, 390, 780, 1560, 6240, 24960),
        LEVELS,
        (0.922, 0.9, 0.832, 0.738, 0.474, 0.353),
        stepped=False,
    ),
    "jpeg_linf": Distortion(
        "acl_tf.attacks.unforeseen.jpeg:LinfJPEG",
        (0.03125, 0.0625, 0.125, 0.25, 0.5, 1),
        "half quantisation steps",
        (0.897, 0.87, 0.831, 0.786, 0.697, 0.354),
    ),
    "jpeg_l2": Distortion(
        "acl_tf.attacks.unforeseen.jpeg:L2JPEG",
        (0.25, 0.5, 1, 2, 4, 8),
        "half quantisation steps",
        (0.922, 0.91, 0.884, 0.858, 0.812, 0.72),
    ),
    "jpeg_l1": Distortion(
        "acl_tf.attacks.unforeseen.jpeg:L1JPEG",
        (2, 8, 64, 256, 512, 1024),
        "half quantisation steps",
        (0.914, 0.881, 0.802, 0.689, 0.563, 0.377),
        stepped=False,
    ),
    "elastic": Distortion(
        "acl_tf.attacks.unforeseen.elastic:ElasticAttack",
        (0.125, 0.25, 0.5, 1, 2, 8),
        "pixels of distance",
        (0.874, 0.813, 0.721, 0.582, 0.454, 0.278),
    ),
    "fog": Distortion("acl_tf.attacks.unforeseen.fog:FogAttack", (5.8, 12, 25, 57, 150, 870), LEVELS, reach=0.5),
    "snow": Distortion(
        "acl_tf.attacks.unforeseen.snow:SnowAttack", (0.018, 0.036, 0.072, 0.15, 0.32, 0.87), "1", reach=0.5
    ),
    "gabor": Distortion("acl_tf.attacks.unforeseen.gabor:GaborAttack", (2.9, 5.8, 12, 23, 47, 100), LEVELS, reach=1.0),
}
DISTORTION_ATTACKS = Registry("distortion", {name: distortion.attack for name, distortion in DISTORTIONS.items()})


def _distortions(value: str) -> str:
    """Returns names joined by `+` in the order of the table."""
    names = value.split("+")
    unknown = [name for name in names if name not in DISTORTIONS]
    if unknown or len(set(names)) < len(names):
        hint = nearest(unknown[0], DISTORTIONS) if unknown else ""
        raise ValueError(f"different ones of {', '.join(DISTORTIONS)}, joined by +{hint}")
    return "+".join(sorted(names, key=list(DISTORTIONS).index))


def _strengths(value: str) -> str:
    """Returns numbers joined by `+` in ascending order."""
    numbers = value.split("+")
    if not set(numbers) <= {str(strength) for strength in STRENGTHS} or len(set(numbers)) < len(numbers):
        raise ValueError("different ones of 1 to 6, joined by +")
    return "+".join(sorted(numbers))


# YAML reads a single strength as a number.
as_text = BeforeValidator(lambda value: str(value) if type(value) is int else value)


class UnforeseenSettings(EvaluatedAttack):
    """The distortions of Kang et al., each at several strengths.

    Attributes:
        distortions: Names, joined by `+`.
        strengths: Numbers from 1 to 6, joined by `+`; UAR needs all.
        steps: Number of steps; the published evaluation took 200.
        targets: `random`: towards another class, drawn for each image, as ATA was measured; `none`: only away from
            the label, which finds more.
        eot: How many losses of a stochastic model are averaged at every step; none: 20 of a smoothed one, else 1.

    Reference: Kang et al., "Testing Robustness Against Unforeseen Adversaries", arXiv 1908.08016;
    ddkang/advex-uar, README, "CIFAR-10 calibrations", and advex_uar/analysis/calibrations/cifar-10/calibs.out.
    """

    distortions: Annotated[str, AfterValidator(_distortions)] = "+".join(DISTORTIONS)
    strengths: Annotated[str, as_text, AfterValidator(_strengths)] = "+".join(map(str, STRENGTHS))
    steps: Count = 30
    targets: Literal["random", "none"] = "random"
    eot: Count | None = None

    @property
    def names(self) -> list[str]:
        """Of the distortions."""
        return self.distortions.split("+")

    @property
    def numbers(self) -> list[int]:
        """Of the strengths."""
        return [int(strength) for strength in self.strengths.split("+")]

    def check(self, name: str, about: Circumstances) -> None:
        self.check_size(name, about.image_size, about.image_size)

    def check_size(self, name: str, height: int | None, width: int | None) -> None:
        """Raises UsageError where JPEG would have to fill up images of this size; None: it is not known yet."""
        fits = height is None or width is None or (height % 16 == 0 and width % 16 == 0)
        if not fits and any(distortion.startswith("jpeg") for distortion in self.names):
            others = "+".join(distortion for distortion in DISTORTIONS if not distortion.startswith("jpeg"))
            raise UsageError(
                "JPEG needs images whose height and width are multiples of 16; leave it out by "
                f"--attack {name}:distortions={others}. Received: {height}x{width}"
            )

    def resolved_eot(self, stochastic: bool) -> int:
        """Returns `eot`, or its default for a model that draws noise, or does not."""
        return self.eot or (EOT_OF_STOCHASTIC if stochastic else 1)

    def protocol(
        self, name: str, seed: int, distortion: str, strength: int, stochastic: bool = False
    ) -> dict[str, Any]:
        """Returns what a record says of one distortion at one strength.

        Args:
            name: Of the attack.
            seed: Of starts and target classes.
            distortion: Its name.
            strength: From 1 to 6.
            stochastic: Whether the attack sees a model that draws noise.
        """
        about = DISTORTIONS[distortion]
        epsilon = about.epsilons[strength - 1]
        return {
            "attack": name,
            "distortion": distortion,
            "strength": strength,
            "epsilon": epsilon,
            "unit": about.unit,
            "steps": self.steps,
            "step_size": about.step_size(epsilon, self.steps),
            "targets": self.targets,
            "eot": self.resolved_eot(stochastic),
            "seed": seed,
        }
