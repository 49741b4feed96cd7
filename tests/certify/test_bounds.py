"""The mathematics of randomised smoothing, beside SciPy, closed forms and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from acl_tf.certify.bounds import (
    Certificate,
    certificate_of,
    certified_radius,
    largest_radius,
    lower_confidence_bound,
    prediction_of,
)

# The lower confidence bound


@given(st.integers(1, 100_000), st.floats(0, 1), st.sampled_from([0.001, 0.01, 0.05, 0.3]))
def test_the_bound_is_the_exact_one_of_scipy(trials, share, alpha):
    successes = round(share * trials)
    test = stats.binomtest(successes, trials, alternative="greater")
    exact = test.proportion_ci(confidence_level=1 - alpha, method="exact").low
    assert lower_confidence_bound(successes, trials, alpha) == pytest.approx(exact, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("trials", [1, 10, 100_000])
def test_the_bound_where_all_or_none_succeed(trials):
    assert lower_confidence_bound(trials, trials, 0.001) == pytest.approx(0.001 ** (1 / trials))
    assert lower_confidence_bound(0, trials, 0.001) == 0.0


@pytest.mark.parametrize("alpha", [0.001, 0.01, 0.1])
@pytest.mark.parametrize("probability", [0.5, 0.73, 0.99, 0.9999])
@pytest.mark.parametrize("trials", [20, 1000])
def test_coverage(probability, trials, alpha):
    """The bound is wrong at most as often as it says, and not much less often where counts are many."""
    counts = np.random.default_rng(0).binomial(trials, probability, 40_000)
    bounds = {count: lower_confidence_bound(int(count), trials, alpha) for count in np.unique(counts)}
    wrong = np.mean([bounds[count] > probability for count in counts])
    assert wrong <= alpha + 4 * math.sqrt(alpha / len(counts))
    # Exactly: the counts whose bound is too high have together no more than alpha.
    exact = sum(
        stats.binom.pmf(count, trials, probability)
        for count in range(trials + 1)
        if lower_confidence_bound(count, trials, alpha) > probability
    )
    assert exact <= alpha * (1 + 1e-9)
    if trials == 1000 and probability < 0.9:
        assert exact > alpha / 2.5  # one-sided: half of it would be the two-sided bound's


@pytest.mark.parametrize(
    "arguments, received",
    [
        ((1, 0, 0.1), "There must be at least one vote. Received: 0"),
        ((3, 2, 0.1), "`successes` must be from 0 to `trials`. Received: successes=3, trials=2"),
        ((-1, 2, 0.1), "`successes` must be from 0 to `trials`. Received: successes=-1, trials=2"),
        ((1, 2, 0.0), "`alpha` must be in (0, 1). Received: alpha=0.0"),
        ((1, 2, math.nan), "`alpha` must be in (0, 1). Received: alpha=nan"),
    ],
)
def test_numbers_that_are_no_counts(arguments, received):
    with pytest.raises(ValueError) as error:
        lower_confidence_bound(*arguments)
    assert str(error.value) == received


# The radius


def test_the_radius_of_a_probability():
    assert certified_radius(0.5, 0.25) == 0.0
    assert certified_radius(0.99, 0.25) == pytest.approx(0.25 * 2.3263478740408408)
    assert certified_radius(0.99, 1.0) == 4 * certified_radius(0.99, 0.25)


def test_the_largest_radius_of_the_papers_numbers():
    """Cohen et al., section 3.2.2: 100,000 draws at alpha 0.001 certify no more than about 3.8 sigma."""
    assert largest_radius(100_000, 1.0, 0.001) == pytest.approx(3.811, abs=1e-3)
    assert largest_radius(9, 0.25, 0.001) == 0.0 < largest_radius(10, 0.25, 0.001)


@pytest.mark.parametrize("probability", [0.49, 1.0, math.nan])
def test_probabilities_without_a_radius(probability):
    with pytest.raises(ValueError, match=r"^`probability` must be from 1/2 to below 1\. Received: probability="):
        certified_radius(probability, 0.25)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_sigmas_that_are_none(sigma):
    with pytest.raises(ValueError, match=r"^`sigma` must be positive\. Received: sigma="):
        certified_radius(0.9, sigma)


# PREDICT


@pytest.mark.parametrize("alpha", [0.001, 0.05])
@pytest.mark.parametrize("votes", [30, 31])
def test_predict_abstains_as_the_test_demands(votes, alpha):
    """By its definition: all outcomes of a fair coin that are not more likely than the one that was seen."""
    for first in range(votes + 1):
        weights = [math.comb(votes, heads) for heads in range(votes + 1)]
        p_value = sum(weight for weight in weights if weight <= weights[first]) / 2**votes
        counts = np.array([0, first, votes - first])
        expected = None if p_value > alpha else 1 if first > votes - first else 2
        assert prediction_of(counts, alpha) == expected


def test_predict_looks_at_the_first_two_classes_alone():
    assert prediction_of(np.array([10, 0, 0]), 0.001) is None  # 2/1024
    assert prediction_of(np.array([11, 0, 0]), 0.001) == 0
    assert prediction_of(np.array([30, 5, 5]), 0.001) == prediction_of(np.array([30, 5, 0]), 0.001) == 0
    assert prediction_of(np.array([5, 5]), 0.999) is None
    with pytest.raises(ValueError, match="at least one vote"):
        prediction_of(np.zeros(3, int), 0.001)


def test_predict_is_wrong_no_more_often_than_alpha():
    """Two classes are equally likely, so that any answer is wrong half of the time at least."""
    random = np.random.default_rng(0)
    for alpha in (0.05, 0.3):
        drawn, times = np.unique(random.multinomial(100, [0.5, 0.5], 4000), axis=0, return_counts=True)
        share = np.average([prediction_of(counts, alpha) is not None for counts in drawn], weights=times)
        assert alpha / 2 < share <= alpha + 4 * math.sqrt(alpha / 4000)


# CERTIFY


def test_certify_is_the_bound_and_the_radius():
    selection, counts = np.array([1, 9]), np.array([40, 960])
    lower = lower_confidence_bound(960, 1000, 0.01)
    assert certificate_of(selection, counts, 0.5, 0.01) == Certificate(1, 0.5 * stats.norm.ppf(lower))


def test_the_first_draws_choose_the_class():
    """Where the others disagree with them there is no certificate: choosing by those would break the bound."""
    assert certificate_of(np.array([9, 1]), np.array([0, 1000]), 0.5, 0.01) == Certificate(None, 0.0)


def test_certify_abstains_where_the_bound_is_no_majority():
    votes = next(k for k in range(501, 1000) if lower_confidence_bound(k, 1000, 0.001) > 0.5)
    below, above = (certificate_of(np.array([0, 9]), np.array([1000 - k, k]), 0.5, 0.001) for k in (votes - 1, votes))
    assert below == Certificate(None, 0.0)
    assert above.label == 1 and 0 < above.radius < 0.01


@pytest.mark.parametrize("margin", [0.05, 0.3, 0.6])
def test_certificates_of_a_linear_classifier_are_true(margin):
    """In the limit the radius is the distance to the boundary; of finite draws it is above it but with alpha."""
    sigma, alpha, draws = 0.25, 0.05, 500
    probability = stats.norm.cdf(margin / sigma)
    random = np.random.default_rng(0)
    radii = [
        certificate_of(np.array([0, 1]), np.array([draws - votes, votes]), sigma, alpha).radius
        for votes in random.binomial(draws, probability, 4000)
    ]
    assert np.mean(np.array(radii) > margin) <= alpha + 4 * math.sqrt(alpha / 4000)
    assert certified_radius(probability, sigma) == pytest.approx(margin)
    many = 10**9
    votes = round(many * probability)
    limit = certificate_of(np.array([0, 1]), np.array([many - votes, votes]), sigma, alpha)
    assert limit.radius == pytest.approx(margin, abs=1e-3)
