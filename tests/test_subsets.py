"""What is read off a run of N samples for fewer of them, against all subsets taken one by one."""

from itertools import combinations, permutations

import numpy as np
import pytest

from latentseek_core.analyses.subsets import best_of, best_with_first, cost_of_distinct, majority_of, until_accepted
from latentseek_core.signals import majority

RNG = np.random.default_rng(0)
REWARDS = RNG.choice([-1.0, -0.5, -1 / 6, 0.0], (7, 6))  # few levels, so that ties are common
RIGHT = RNG.random((7, 6)) < 0.4
VOTES = RNG.choice(np.array(["3", "4", "5", None], dtype=object), (7, 6))


def one_by_one(choose) -> np.ndarray:
    """The mean of `choose(problem, subset)` over all subsets of each size."""
    return np.array(
        [[np.mean([choose(p, s) for s in combinations(range(6), m)]) for m in range(1, 7)] for p in range(len(REWARDS))]
    )


def test_best_of_is_the_mean_over_all_subsets():
    brute = one_by_one(lambda p, subset: RIGHT[p, max(subset, key=lambda i: REWARDS[p, i])])  # max takes the first of equals
    assert best_of(REWARDS, RIGHT) == pytest.approx(brute)


def test_grades_as_rewards_give_pass_at_m():
    brute = one_by_one(lambda p, subset: any(RIGHT[p, i] for i in subset))
    assert best_of(RIGHT, RIGHT) == pytest.approx(brute)


def test_the_majority_is_the_one_that_self_consistency_takes():
    brute = one_by_one(lambda p, subset: RIGHT[p, subset[majority([VOTES[p, i] for i in subset])]])
    assert majority_of(VOTES, RIGHT) == pytest.approx(brute)


def test_equal_texts_are_judged_once():
    texts = RNG.choice(np.array(["a", "b", "c"], dtype=object), (7, 6))
    price = {"a": 40, "b": 25, "c": 90}
    costs = np.array([[0 if t in row[:i] else price[t] for i, t in enumerate(row)] for row in texts.tolist()])
    brute = one_by_one(lambda p, subset: sum(price[t] for t in {texts[p, i] for i in subset}))
    assert cost_of_distinct(texts, costs) == pytest.approx(brute)


FIRST_REWARD, FIRST_RIGHT = RNG.choice([-1.0, -0.5, -1 / 6, 0.0], 7), (RNG.random(7) < 0.5).astype(float)


def test_a_first_answer_takes_part_and_wins_among_equals():
    def chosen(p, subset):
        best = max(subset, key=lambda i: REWARDS[p, i])
        return RIGHT[p, best] if REWARDS[p, best] > FIRST_REWARD[p] else FIRST_RIGHT[p]

    assert best_with_first(REWARDS, RIGHT, FIRST_REWARD, FIRST_RIGHT) == pytest.approx(one_by_one(chosen))


def test_sampling_until_accepted_is_the_mean_over_all_orders():
    accepted, prices, first_price = REWARDS > -0.2, RNG.integers(20, 90, (7, 6)), RNG.integers(20, 90, 7)
    accepted[0], accepted[1] = True, False

    def played(p, order) -> tuple[float, float]:
        value, cost = FIRST_RIGHT[p], first_price[p]
        for i in order if FIRST_REWARD[p] <= -0.2 else ():
            value, cost = RIGHT[p, i], cost + prices[p, i]
            if accepted[p, i]:
                break
        return value, cost

    brute = np.array([[np.mean([played(p, o) for o in permutations(range(6), m)], axis=0) for m in range(7)] for p in range(7)])
    first = FIRST_REWARD > -0.2, FIRST_RIGHT, first_price
    value, cost = until_accepted(accepted, RIGHT, prices, *first)
    assert value == pytest.approx(brute[..., 0])
    assert cost == pytest.approx(brute[..., 1])


def test_unlike_shapes_are_refused():
    for call in (best_of, majority_of, cost_of_distinct):
        with pytest.raises(ValueError, match=r"arrays of shape \(7, 6\) and \(7, 5\)"):
            call(REWARDS, RIGHT[:, :5])
