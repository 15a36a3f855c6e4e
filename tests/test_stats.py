"""Intervals and comparisons against closed forms, sums over the binomial by hand, textbook numbers and simulated coverage."""

from math import comb, sqrt

import numpy as np
import pandas as pd
import pytest

from latentseek_core.stats import bootstrap_difference, bootstrap_mean, holm, interval, paired

Z = 1.959963984540054


def answers(right: int, n: int) -> list[bool]:
    return [True] * right + [False] * (n - right)


def probability(k: int, n: int, p: float) -> float:
    return comb(n, k) * p**k * (1 - p) ** (n - k)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 30), (4, 30), (15, 30), (29, 30), (30, 30), (812, 1319)])
def test_wilson_is_its_closed_form(k, n):
    p, spread = k / n, Z**2 / n
    centre, half = (p + spread / 2) / (1 + spread), Z * sqrt(p * (1 - p) / n + spread / (4 * n)) / (1 + spread)
    assert interval(answers(k, n)) == pytest.approx((max(0, centre - half), min(1, centre + half)), abs=1e-12)


@pytest.mark.parametrize(("k", "n"), [(0, 12), (1, 12), (5, 12), (11, 12), (12, 12), (3, 30)])
def test_the_exact_interval_leaves_half_of_alpha_in_each_tail(k, n):
    low, high = interval(answers(k, n), 0.9, method="exact")
    assert low == 0 if k == 0 else sum(probability(i, n, low) for i in range(k, n + 1)) == pytest.approx(0.05, abs=1e-9)
    assert high == 1 if k == n else sum(probability(i, n, high) for i in range(k + 1)) == pytest.approx(0.05, abs=1e-9)


def test_coverage_over_all_samples_of_thirty():
    """The exact interval never covers less than it says; Wilson's covers that much on average."""
    n, truths = 30, np.linspace(0.02, 0.98, 49)
    covered = {
        method: [
            sum(probability(k, n, p) for k, (low, high) in enumerate(found) if low <= p <= high)
            for found in [[interval(answers(k, n), method=method) for k in range(n + 1)]]
            for p in truths
        ]
        for method in ("wilson", "exact")
    }
    assert min(covered["exact"]) >= 0.95
    assert np.mean(covered["wilson"]) == pytest.approx(0.95, abs=0.01)
    assert min(covered["wilson"]) < 0.95


def test_a_textbook_interval():
    # Newcombe (1998), table I: 81 of 263.
    assert interval(answers(81, 263)) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert interval(answers(81, 263), method="exact") == pytest.approx((0.2527, 0.3676), abs=5e-5)


@pytest.mark.parametrize(
    ("correct", "options", "said"),
    [
        ([], {}, "no answers"),
        ([True], {"method": "wald"}, "wilson or exact"),
        ([True], {"confidence": 1.0}, "between 0 and 1"),
        ([True, None], {}, "None among the answers"),
        ([True, float("nan")], {}, "nan among the answers"),
        ([True, pd.NA], {}, "NA"),
        ([True, "False"], {}, "'False' among the answers"),
        ([0, 2], {}, "2 among the answers"),
    ],
)
def test_what_has_no_interval_is_refused(correct, options, said):
    with pytest.raises(ValueError, match=said):
        interval(correct, **options)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (5, 5), (8, 2), (2, 8), (40, 17)])
def test_mcnemar_is_a_sum_over_the_binomial(gained, lost):
    first = [True] * lost + [False] * gained + [True, False] * 4
    second = [False] * lost + [True] * gained + [True, False] * 4
    n = gained + lost
    tail = sum(comb(n, k) for k in range(min(gained, lost) + 1)) / 2**n
    found = paired(first, second)
    assert (found.gained, found.lost) == (gained, lost)
    assert found.p_value == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


def test_mcnemar_numbers():
    assert paired(answers(2, 10), answers(0, 2) + answers(8, 8)).p_value == pytest.approx(0.109375)
    assert paired(np.array([True, False]), pd.Series([True, False])).p_value == 1.0
    with pytest.raises(ValueError, match="3 values against 2"):
        paired([True] * 3, [True] * 2)


def test_bootstrap_of_a_large_sample_is_the_normal_interval():
    data = np.random.default_rng(1).normal(100, 15, 2000)
    half = Z * data.std(ddof=1) / sqrt(len(data))
    for method in ("BCa", "percentile", "basic"):
        found = bootstrap_mean(data, method=method)
        assert found.estimate == pytest.approx(data.mean())
        assert (found.low, found.high) == pytest.approx((data.mean() - half, data.mean() + half), abs=0.06 * half)


def test_bootstrap_percentile_against_every_resample():
    """Three values have 27 equally likely resamples; a simulated interval ends at quantiles of their means."""
    data = [0.0, 1.0, 5.0]
    means = [(a + b + c) / 3 for a in data for b in data for c in data]
    found = bootstrap_mean(data, confidence=0.8, method="percentile", n_resamples=20_000)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.1, 0.9])), abs=0.34)
    assert found == bootstrap_mean(data, confidence=0.8, method="percentile", n_resamples=20_000)
    assert found.low in [pytest.approx(mean) for mean in means]


def test_bootstrap_covers_a_skewed_mean():
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(150):
        found = bootstrap_mean(rng.exponential(2.0, 60), n_resamples=400, seed=seed)
        hits += found.low <= 2.0 <= found.high
    assert 0.88 <= hits / 150 <= 0.99


def test_differences_are_resampled_in_pairs():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0, 50, 300)
    first, second = difficulty + rng.normal(0, 1, 300), difficulty + 1 + rng.normal(0, 1, 300)
    found = bootstrap_difference(first, second)
    half = Z * (second - first).std(ddof=1) / sqrt(300)
    assert found.estimate == pytest.approx((second - first).mean())
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)
    assert found.low > 0
    swapped = bootstrap_difference(second, first, method="percentile")
    assert swapped.estimate == pytest.approx(-found.estimate)
    assert swapped.high < 0


def test_degenerate_samples():
    assert bootstrap_mean([3, 3, 3]) == (3.0, 3.0, 3.0)
    assert bootstrap_difference([1, 2, 3], [2, 3, 4]) == (1.0, 1.0, 1.0)
    skewed = bootstrap_mean([0.0] * 99 + [1.0])
    assert 0 <= skewed.low <= 0.01 <= skewed.high <= 0.1
    for values, said in [
        ([], "two values at least, not 0"),
        ([1.0], "two values at least, not 1"),
        ([1.0, float("nan")], "finite"),
        ([1.0, float("inf")], "finite"),
        (["a", 1.0], "not a row of numbers"),
        ([None, 1.0], "finite|numbers"),
        ([[1.0, 2.0]], "one row"),
    ]:
        with pytest.raises(ValueError, match=said):
            bootstrap_mean(values)
    for options, said in [
        ({"method": "bca"}, "BCa"),
        ({"n_resamples": 0}, "at least 1"),
        ({"confidence": 95}, "between 0 and 1"),
    ]:
        with pytest.raises(ValueError, match=said):
            bootstrap_mean([1, 2], **options)
    with pytest.raises(ValueError, match="2 values against 3"):
        bootstrap_difference([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="percentile"):
        bootstrap_mean([0, 1], n_resamples=1)  # BCa has nothing to correct by


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2]) == [0.2]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
    for wrong in (float("nan"), 1.2, -0.1):
        with pytest.raises(ValueError, match="not in"):
            holm([0.5, wrong])


def test_holm_is_the_step_down_rule():
    """Adjusted values reject just what Holm's rule rejects: in order, while p_(i) ≤ α/(m − i)."""
    rng = np.random.default_rng(5)
    for _ in range(8):
        p_values = list(rng.uniform(0, 0.1, 6))
        rejected = set()
        for i, index in enumerate(np.argsort(p_values)):
            if p_values[index] > 0.05 / (6 - i):
                break
            rejected.add(int(index))
        assert {i for i, p in enumerate(holm(p_values)) if p <= 0.05} == rejected
