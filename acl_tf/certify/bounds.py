"""Randomised smoothing: what votes under Gaussian noise prove; the mathematics, without a network.

Reference: Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019,
Algorithm 1.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Certificate(NamedTuple):
    """What holds of an image, but with probability `alpha`.

    Attributes:
        label: The class that the smoothed classifier gives to every image within the radius; None: it abstains.
        radius: l2, of the unit of `sigma`; 0 where it abstains.
    """

    label: int | None
    radius: float


def predict(counts: np.ndarray, alpha: float) -> int | None:
    """PREDICT: the class of the most votes, if it leads the second by more than chance.

    Args:
        counts: Votes for each class, of shape `(classes,)`.
        alpha: How often another class than the smoothed classifier's may be returned, at most.

    Returns:
        The class, or None: abstention.

    Raises:
        ValueError: If there are no votes, or `alpha` is not in (0, 1).

    Reference: Cohen et al., ICML 2019, Algorithm 1, PREDICT.
    """
    _check(alpha, trials=int(np.sum(counts)))
    second, first = (int(label) for label in np.argsort(counts, kind="stable")[-2:])
    votes = int(counts[first]), int(counts[second])
    return first if stats.binomtest(votes[0], sum(votes), 0.5).pvalue <= alpha else None


def certify(selection: np.ndarray, counts: np.ndarray, sigma: float, alpha: float) -> Certificate:
    """CERTIFY: a class and the l2 radius around the image in which the smoothed classifier does not leave it.

    Args:
        selection: Votes of the n0 draws that choose the class, of shape `(classes,)`.
        counts: Votes of n other draws, of the same shape; the bound would not hold for the draws that chose.
        sigma: Standard deviation of the noise.
        alpha: How often the certificate may be wrong, at most.

    Raises:
        ValueError: If there are no votes, or `alpha` is not in (0, 1).

    Reference: Cohen et al., ICML 2019, Algorithm 1, CERTIFY, and Proposition 2.
    """
    label = int(np.argmax(selection))
    lower = lower_confidence_bound(int(counts[label]), int(np.sum(counts)), alpha)
    return Certificate(label, certified_radius(lower, sigma)) if lower > 0.5 else Certificate(None, 0.0)


def lower_confidence_bound(successes: int, trials: int, alpha: float) -> float:
    """Returns a bound that the probability of success is not below, but with probability `alpha`: Clopper–Pearson.

    It is one-sided and exact: it covers the probability at least as often as it says, for any number of trials.

    Args:
        successes: How many.
        trials: Of how many, at least one.
        alpha: In (0, 1).

    Raises:
        ValueError: If the numbers are not of that kind.

    Reference: Clopper and Pearson, "The Use of Confidence or Fiducial Limits", Biometrika 26, 1934; Cohen et al., ICML
    2019, LOWERCONFBOUND of Algorithm 1.
    """
    _check(alpha, trials)
    if not 0 <= successes <= trials:
        raise ValueError(f"`successes` must be from 0 to `trials`. Received: successes={successes}, trials={trials}")
    return float(stats.beta.ppf(alpha, successes, trials - successes + 1)) if successes else 0.0


def certified_radius(probability: float, sigma: float) -> float:
    """Returns the l2 radius that a lower bound of the top class's probability proves: sigma · Φ⁻¹(probability).

    Args:
        probability: From 1/2 to below 1.
        sigma: Standard deviation of the noise, in the unit of the radius.

    Raises:
        ValueError: If the probability is outside, or `sigma` is not positive.

    Reference: Cohen et al., ICML 2019, Theorem 1 and Eq. 3 with the others' probability bounded by the rest, as in
    Algorithm 1.
    """
    if not 0.5 <= probability < 1:
        raise ValueError(f"`probability` must be from 1/2 to below 1. Received: probability={probability}")
    if not sigma > 0:
        raise ValueError(f"`sigma` must be positive. Received: sigma={sigma}")
    return float(sigma * stats.norm.ppf(probability))


def largest_radius(draws: int, sigma: float, alpha: float) -> float:
    """Returns the radius that is certified where all draws agree; 0 where so few prove nothing."""
    lower = lower_confidence_bound(draws, draws, alpha)
    return certified_radius(lower, sigma) if lower > 0.5 else 0.0


def _check(alpha: float, trials: int) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` must be in (0, 1). Received: alpha={alpha}")
    if trials < 1:
        raise ValueError(f"There must be at least one vote. Received: {trials}")
