"""How sure a number is: intervals for accuracies and means, and comparisons of methods on the same problems."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest, bootstrap
from statsmodels.stats.multitest import multipletests


class Estimate(NamedTuple):
    """A number with its confidence interval."""

    estimate: float
    low: float
    high: float


def interval(correct: Sequence[bool], confidence: float = 0.95, method: str = "wilson") -> tuple[float, float]:
    """The confidence interval of the accuracy behind right and wrong answers.

    Args:
        correct: an entry for each problem, True where its answer is right.
        confidence: how often such intervals should hold the true accuracy.
        method: `wilson`, whose coverage is right on average, or `exact` (Clopper-Pearson), wider and never below it.

    Raises:
        ValueError: no answers, an entry that is neither True nor False, an unknown method, a confidence outside (0, 1).
    """
    right = _right_or_wrong(correct)
    if method not in ("wilson", "exact"):
        raise ValueError(f"unknown interval method {method!r}: use wilson or exact")
    if not len(right):
        raise ValueError("no answers, so no accuracy and no interval; check that the run or the selection holds any")
    found = binomtest(int(right.sum()), len(right)).proportion_ci(_proper(confidence), method=method)
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class Paired:
    """Two methods on the same problems: how many only the second got right (`gained`), how many only the first (`lost`), and how
    likely so uneven a split would be if neither were better (McNemar's exact test)."""

    gained: int
    lost: int
    p_value: float


def paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Compares two methods problem by problem; the order of problems must be the same in both.

    Raises:
        ValueError: unequal lengths, or an entry that is neither True nor False.
    """
    a, b = _right_or_wrong(first), _right_or_wrong(second)
    _same_length(a, b)
    gained, lost = int((b & ~a).sum()), int((a & ~b).sum())
    # Exact McNemar is the binomial test of the discordant pairs; without any there is nothing to tell the methods apart.
    p_value = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return Paired(gained, lost, float(p_value))


def bootstrap_mean(
    values: Sequence[float], *, confidence: float = 0.95, n_resamples: int = 9999, seed: int = 0, method: str = "BCa"
) -> Estimate:
    """A mean with its bootstrap interval: for tokens, seconds, iterations; right and wrong answers have `interval`.

    Values that are all equal give an interval without width: resampling can't show what the sample doesn't.

    Args:
        method: `BCa` (corrected for bias and skew), `percentile` or `basic`, as `scipy.stats.bootstrap` calls them.

    Raises:
        ValueError: fewer than two values, a value that is not finite, fewer than one resample, an unknown method, a confidence
            outside (0, 1), or values of so few kinds that BCa is undefined.
    """
    data = _finite(values)
    if method not in ("BCa", "percentile", "basic"):
        raise ValueError(f"unknown bootstrap method {method!r}: use BCa, percentile or basic")
    if len(data) < 2:
        raise ValueError(f"a bootstrap needs two values at least, not {len(data)}")
    if n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples}; it must be at least 1")
    share, mean = _proper(confidence), float(data.mean())
    if data.min() == data.max():
        return Estimate(mean, mean, mean)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a degenerate BCa is reported below, as an error
        found = bootstrap(
            (data,),
            np.mean,
            confidence_level=share,
            n_resamples=n_resamples,
            method=method,
            rng=np.random.default_rng(seed),
            batch=max(1, 5_000_000 // len(data)),  # so that many problems don't fill the memory
        ).confidence_interval
    if not np.isfinite([found.low, found.high]).all():
        raise ValueError(f"{method} is undefined for these {len(data)} values; use method='percentile' or more resamples")
    return Estimate(mean, float(found.low), float(found.high))


def bootstrap_difference(first: Sequence[float], second: Sequence[float], **options) -> Estimate:
    """Mean of `second` minus mean of `first` with its bootstrap interval, for two methods on the same problems.

    Problems are drawn, each with both its values (paired resampling), which is to resample the differences.

    Args:
        options: as in `bootstrap_mean`.

    Raises:
        ValueError: unequal lengths, and as `bootstrap_mean`.
    """
    a, b = _finite(first), _finite(second)
    _same_length(a, b)
    return bootstrap_mean(b - a, **options)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given: compared with α, they keep the chance of any false alarm below it.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    wrong = [p for p in p_values if not 0 <= p <= 1]
    if wrong:
        raise ValueError(f"p-value {wrong[0]} is not in [0, 1]")
    return [float(p) for p in multipletests(list(p_values), method="holm")[1]] if len(p_values) else []


def _right_or_wrong(values: Sequence[bool]) -> np.ndarray:
    entries = list(values)
    # `in` alone would choke on pandas' missing value, whose comparison has no truth.
    wrong = [v for v in entries if not isinstance(v, bool | int | float | np.bool_ | np.number) or v not in (0, 1)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} among the answers is neither True nor False; grade or drop it first")
    return np.asarray(entries, dtype=bool)


def _finite(values: Sequence[float]) -> np.ndarray:
    try:
        data = np.asarray(list(values), dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"not a row of numbers: {error}") from error
    if data.ndim != 1 or not np.isfinite(data).all():
        raise ValueError("the values must be one row of finite numbers; drop what is missing first")
    return data


def _same_length(first: np.ndarray, second: np.ndarray) -> None:
    if len(first) != len(second):
        raise ValueError(
            f"{len(first)} values against {len(second)}; a paired comparison needs the same problems in the same order"
        )


def _proper(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1")
    return confidence
