"""The mathematics of randomised smoothing: certificates from votes under Gaussian noise, without a network.

Reference: Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019,
Algorithm 1.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats


class Certificate(NamedTuple):
    """A statement about an image that is wrong with probability at most `alpha`.

    Attributes:
        label: Class that the smoothed classifier returns for every image within the radius; None: abstention.
        radius: l2 radius, in the unit of `sigma`; 0 for an abstention.
    """

    label: int | None
    radius: float


def prediction_of(counts: np.ndarray, alpha: float) -> int | None:
    """Returns the class with the most votes if it leads the second significantly (PREDICT).

    Args:
        counts: Votes for each class, of shape `(classes,)`.
        alpha: Largest probability of returning another class than the smoothed classifier.

    Returns:
        The class, or None for an abstention.

    Raises:
        ValueError: If there are no votes, or `alpha` is not in (0, 1).

    Reference: Cohen et al., ICML 2019, Algorithm 1, PREDICT.
    """
    _check(alpha, trials=int(np.sum(counts)))
    second, first = (int(label) for label in np.argsort(counts, kind="stable")[-2:])
    votes = int(counts[first]), int(counts[second])
    return first if stats.binomtest(votes[0], sum(votes), 0.5).pvalue <= alpha else None


def certificate_of(selection: np.ndarray, counts: np.ndarray, sigma: float, alpha: float) -> Certificate:
    """Returns a class and the l2 radius around the image within which the smoothed classifier returns it (CERTIFY).

    Args:
        selection: Votes of the n0 draws that choose the class, of shape `(classes,)`.
        counts: Votes of n other draws, of the same shape; the bound does not hold for the draws that chose the class.
        sigma: Standard deviation of the noise.
        alpha: Largest probability that the certificate is wrong.

    Raises:
        ValueError: If there are no votes, or `alpha` is not in (0, 1).

    Reference: Cohen et al., ICML 2019, Algorithm 1, CERTIFY, and Proposition 2.
    """
    label = int(np.argmax(selection))
    lower = lower_confidence_bound(int(counts[label]), int(np.sum(counts)), alpha)
    return Certificate(label, certified_radius(lower, sigma)) if lower > 0.5 else Certificate(None, 0.0)


def lower_confidence_bound(successes: int, trials: int, alpha: float) -> float:
    """Returns the one-sided Clopper–Pearson lower confidence bound of a probability at level 1 − `alpha`.

    It is exact: for any number of trials, the probability is below the bound with probability at most `alpha`.

    Args:
        successes: Number of successes.
        trials: Number of trials, at least one.
        alpha: Error probability, in (0, 1).

    Raises:
        ValueError: If a number is outside of its range.

    Reference: Clopper and Pearson, "The Use of Confidence or Fiducial Limits", Biometrika 26, 1934; Cohen et al., ICML
    2019, LOWERCONFBOUND of Algorithm 1.
    """
    _check(alpha, trials)
    if not 0 <= successes <= trials:
        raise ValueError(f"`successes` must be from 0 to `trials`. Received: successes={successes}, trials={trials}")
    return float(stats.beta.ppf(alpha, successes, trials - successes + 1)) if successes else 0.0


def certified_radius(probability: float, sigma: float) -> float:
    """Returns the l2 radius certified by a lower bound of the top class' probability: sigma · Φ⁻¹(probability).

    Args:
        probability: Lower bound of the probability, from 1/2 to below 1.
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
    """Returns the radius that is certified if all draws agree; 0 if there are too few to certify any."""
    lower = lower_confidence_bound(draws, draws, alpha)
    return certified_radius(lower, sigma) if lower > 0.5 else 0.0


def _check(alpha: float, trials: int) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"`alpha` must be in (0, 1). Received: alpha={alpha}")
    if trials < 1:
        raise ValueError(f"There must be at least one vote. Received: {trials}")
