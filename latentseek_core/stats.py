"""How sure a number is: intervals for accuracies, and paired comparisons on the same problems."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import binomtest


def interval(correct: Sequence[bool], confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for the accuracy behind right and wrong answers."""
    found = binomtest(int(sum(correct)), len(correct)).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


@dataclass(frozen=True)
class Paired:
    """Two methods on the same problems: how many only the second got right (`gained`), how many only the first (`lost`), and how
    likely so uneven a split would be if neither were better (McNemar's exact test)."""

    gained: int
    lost: int
    p_value: float


def paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Compares two methods problem by problem; the order of problems must be the same in both."""
    gained = sum(b and not a for a, b in zip(first, second, strict=True))
    lost = sum(a and not b for a, b in zip(first, second, strict=True))
    p_value = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return Paired(int(gained), int(lost), float(p_value))
