"""Smaller N from one run of N samples: each figure is the mean over all subsets of m samples, which is what a run with N = m has on
average.

Samples of a problem are drawn alike, so any m of them are as good as m fresh ones. Arrays are `[P, N]`, a row a problem and a column a
sample, in the order drawn; the results are `[P, N]` as well, their column m − 1 standing for m samples.
"""

from itertools import combinations
from math import comb

import numpy as np


def best_of(rewards: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value (a grade, say) of the best-rewarded of m samples, of equally rewarded ones the one drawn first.

    The j-th best of all N is the best of a subset where that holds it and none of the j better ones: in C(N−1−j, m−1) of C(N, m)
    subsets. With grades as rewards this is pass@m as Chen et al. (2021, arXiv 2107.03374) estimate it.

    Raises:
        ValueError: arrays of unlike shapes.
    """
    rewards, values = _alike(rewards, values)
    n = rewards.shape[1]
    order = np.argsort(-rewards, axis=1, kind="stable")
    weights = np.array([[comb(n - 1 - j, m - 1) / comb(n, m) for m in range(1, n + 1)] for j in range(n)])
    return np.take_along_axis(values, order, 1) @ weights


def majority_of(votes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The value of the answer that most of m samples state, of equally frequent ones the one drawn first; None is no vote.

    Counts every subset, 2^N in all: for N up to a dozen.

    Raises:
        ValueError: arrays of unlike shapes.
    """
    votes, values = np.asarray(votes, dtype=object), np.asarray(values, dtype=float)
    _alike(np.zeros(votes.shape), values)
    same = (votes[:, :, None] == votes[:, None, :]) & (votes != None)[:, :, None]  # noqa: E711, element by element
    found = np.zeros(values.shape)
    for m in range(1, votes.shape[1] + 1):
        subsets = [list(subset) for subset in combinations(range(votes.shape[1]), m)]
        for subset in subsets:
            chosen = same[:, subset][:, :, subset].sum(-1).argmax(1)  # the first of equals
            found[:, m - 1] += np.take_along_axis(values[:, subset], chosen[:, None], 1)[:, 0] / len(subsets)
    return found


def cost_of_distinct(texts: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """What it costs to judge m samples where equal texts are judged once: the sum over texts of cost times the chance to be among m.

    Args:
        texts: the samples.
        costs: what each was judged for; 0 where its text had been judged before.

    Raises:
        ValueError: arrays of unlike shapes.
    """
    texts, costs = np.asarray(texts, dtype=object), np.asarray(costs, dtype=float)
    _alike(np.zeros(texts.shape), costs)
    n = texts.shape[1]
    copies = (texts[:, :, None] == texts[:, None, :]).sum(-1)
    missed = np.array([[comb(n - c, m) / comb(n, m) for m in range(1, n + 1)] for c in range(n + 1)])
    return (costs[:, :, None] * (1 - missed[copies])).sum(1)


def best_with_first(rewards: np.ndarray, values: np.ndarray, first_reward: np.ndarray, first_value: np.ndarray) -> np.ndarray:
    """As `best_of`, with one answer `[P]` that always takes part beside the m samples and wins among equals: the greedy one."""
    rewards, values = _alike(rewards, values)
    return best_of(rewards, np.where(rewards > first_reward[:, None], values, first_value[:, None]))


def until_accepted(
    accepted: np.ndarray,
    values: np.ndarray,
    prices: np.ndarray,
    first_accepted: np.ndarray,
    first_value: np.ndarray,
    first_price: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """A first answer `[P]`, then samples until one is accepted, at most m = 0..N: the last answer's value and what all cost, both
    `[P, N + 1]`, means over all orders of the samples.

    Where a of N samples would be accepted, the first m are all refused in C(N − a, m) of C(N, m) cases.

    Raises:
        ValueError: arrays of unlike shapes.
    """
    accepted = np.asarray(accepted, dtype=bool)
    (values, prices), _ = _alike(values, prices), _alike(accepted, values)
    n, wins = accepted.shape[1], accepted.sum(1)
    missed = np.array([[comb(n - a, m) / comb(n, m) for m in range(n + 1)] for a in wins])
    # Means over accepted and over refused samples; where there are none, they don't count.
    (hit, miss), (hit_price, miss_price) = (
        ((of * accepted).sum(1) / np.maximum(wins, 1), (of * ~accepted).sum(1) / np.maximum(n - wins, 1))
        for of in (values, prices)
    )
    value = hit[:, None] * (1 - missed) + miss[:, None] * missed
    value[:, 0] = first_value
    rounds = (missed[:, :-1] - missed[:, 1:]) * hit_price[:, None] + missed[:, 1:] * miss_price[:, None]
    cost = np.concatenate([first_price[:, None], rounds], axis=1).cumsum(1)
    done = np.asarray(first_accepted, dtype=bool)[:, None]
    return np.where(done, first_value[:, None], value), np.where(done, first_price[:, None], cost)


def _alike(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError(f"arrays of shape {first.shape} and {second.shape}; both must be [problems, samples]")
    return first, second
