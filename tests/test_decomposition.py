"""Comparisons at equal budgets against curves worked out by hand, and intervals against the normal approximation."""

import numpy as np
import pandas as pd
import pytest

from latentseek_core.analyses.decomposition import (
    Track,
    at_budgets,
    chosen,
    compare,
    curve,
    difference,
    parts,
    standings,
    track,
    within,
)


def steps(*answers):
    """(right, decoded, verifier, reward) each."""
    names = ("correct", "decoded_tokens", "verifier_tokens", "reward")
    return [dict(zip(names, answer, strict=True)) for answer in answers]


def rows(searches, seed=0, method="latentseek", prompts=1):
    decoded = [sum(s["decoded_tokens"] for s in found) for found in searches.values()]
    judged = [sum(s["verifier_tokens"] for s in found) for found in searches.values()]
    table = {"run": f"s{seed}", "seed": seed, "problem_id": list(searches), "steps": list(searches.values())}
    table |= {"answer_tokens": decoded, "verifier_tokens": judged}
    # Prompts of 7 tokens, and 2 tokens for each one decoded, noted evenly for all problems as a run does it.
    shares = (7 * prompts + 2 * (sum(decoded) + sum(judged))) / len(searches)
    return pd.DataFrame(table | {"method": method, "prompt_tokens": 7, "forwarded_tokens": shares})


SEARCHES = {
    "a": steps((True, 10, 5, 0.0)),
    "b": steps((False, 20, 0, -1.0), (True, 4, 1, -0.5), (False, 0, 5, -0.5), (True, 10, 0, -0.7)),
}


def test_a_track_follows_each_problem_and_its_tokens():
    found = track(rows(SEARCHES, prompts=2), ["b", "a"])
    assert found.correct.tolist() == [[0, 1, 0, 1], [1, 1, 1, 1]]
    assert found.tokens.tolist() == [[47, 57, 67, 87], [37, 37, 37, 37]]
    assert track(rows(SEARCHES, prompts=2), ["b"], rounds=1).correct.tolist() == [[0, 1]]


def test_a_fresh_sample_reads_its_prompt_again():
    found = track(rows(SEARCHES, method="resample", prompts=5), ["b"])
    assert found.tokens.tolist() == [[47, 64, 81, 108]]


def test_the_best_so_far_is_the_earliest_of_equals():
    assert track(rows(SEARCHES, prompts=2), ["b"], best=True).correct.tolist() == [[0, 1, 1, 1]]


def test_seeds_are_averaged_within_a_problem():
    other = {"a": SEARCHES["a"], "b": steps((False, 20, 0, -1.0), (False, 5, 0, -1.0))}
    found = track(pd.concat([rows(SEARCHES, prompts=2), rows(other, seed=1, prompts=2)]), ["a", "b"])
    assert found.correct[1].tolist() == [0, 0.5, 0, 0.5]
    assert found.tokens[1].tolist() == [47, 57, 62, 72]


def test_a_missing_problem_is_named():
    with pytest.raises(ValueError, match="the run s0 has no problem c"):
        track(rows(SEARCHES, prompts=2), ["a", "c"])
    with pytest.raises(ValueError, match="no run"):
        track(rows(SEARCHES, prompts=2)[:0], ["a"])


def test_between_iterations_the_curve_is_a_lottery_among_problems():
    one = Track(np.array([[0, 1], [0, 0]]), np.array([[10, 30], [10, 10]]))
    # A fifth of the problems by lot gets a second answer: that costs 0.2 · 10 and wins 0.2 · 0.5.
    assert at_budgets(one, [0, 10, 12, 20, 99])[0] == pytest.approx([0, 0, 0.1, 0.5, 0.5])


def simulated(n=400, seed=0):
    draws = np.random.default_rng(seed)
    first = draws.random((n, 1)) < 0.5
    later = first | (draws.random((n, 1)) < 0.3)
    tokens = 50 + draws.random((n, 1)) * 20
    return Track(np.hstack([first, later]).astype(float), np.hstack([tokens, tokens + np.where(first, 0, 60)]))


def test_intervals_are_those_of_the_normal_approximation():
    one = simulated()
    found = curve(one).iloc[-1]
    p = one.correct[:, -1].mean()
    assert (found.accuracy, found.n) == (pytest.approx(p), 400)
    half = 1.96 * np.sqrt(p * (1 - p) / 400)
    assert (found.low, found.high) == (pytest.approx(p - half, abs=0.006), pytest.approx(p + half, abs=0.006))


def test_a_comparison_is_paired_and_nothing_differs_from_itself():
    one, still = simulated(), simulated()
    assert compare(one, still, [0, 60, 80, 1e6])[["difference", "low", "high"]].abs().max(axis=None) == 0
    never = Track(np.repeat(one.correct[:, :1], 2, axis=1), one.tokens)
    found = compare(never, one, [1e6]).iloc[0]
    gain = (one.correct[:, 1] - one.correct[:, 0]).astype(float)
    half = 1.96 * gain.std() / np.sqrt(len(gain))
    assert found.difference == pytest.approx(gain.mean())
    assert (found.low, found.high) == (pytest.approx(gain.mean() - half, abs=0.005), pytest.approx(gain.mean() + half, abs=0.005))
    with pytest.raises(ValueError, match="2 problems against 400"):
        compare(Track(np.zeros((2, 1)), np.ones((2, 1))), one, [1])


def test_the_interval_at_a_budget_covers():
    """The budget's reach is estimated with the rest: over samples from a known law the interval holds the truth as often as it says."""
    law, budget = simulated(200_000, seed=9), [75.0]
    truth = np.interp(budget, law.tokens.mean(0), law.correct.mean(0))[0]
    covered = 0
    for seed in range(60):
        drawn = at_budgets(simulated(150, seed), budget)[1:, 0]
        covered += np.quantile(drawn, 0.025) <= truth <= np.quantile(drawn, 0.975)
    assert covered / 60 >= 0.85


def test_parts_add_up_and_equal_levels_differ_by_nothing():
    draws = np.random.default_rng(3)
    levels = {name: (draws.random(300) < p).astype(float) for name, p in {"a": 0.4, "b": 0.5, "c": 0.7}.items()}
    found = parts(levels | {"d": levels["c"]})
    assert found.part.tolist() == ["b", "c", "d"]
    assert found.gain.sum() == pytest.approx(levels["c"].mean() - levels["a"].mean())
    assert found.iloc[-1][["gain", "low", "high"]].tolist() == [0, 0, 0]
    assert ((found.low <= found.gain) & (found.gain <= found.high)).all()


def test_a_difference_has_an_interval_even_where_bca_has_none():
    found = difference([0, 0], [1, 0])
    assert (found.estimate, found.low, found.high) == (0.5, 0, 1)
    with pytest.raises(ValueError, match="2 values against 1"):
        difference([0, 0], [1])


def test_a_pool_is_spent_round_by_round_and_its_rest_on_the_first_problems():
    searches = {
        "a": steps((False, 10, 5, -1.0), (True, 10, 0, -0.5), (False, 10, 0, -0.5)),
        "b": steps((False, 10, 5, -1.0), (True, 20, 0, 0.0)),
        "c": steps((True, 10, 0, 0.0)),
    }
    found = {pool: within(rows(searches), ["a", "b", "c"], pool) for pool in (40, 50, 69, 70, 79, 80, 1000)}
    assert {pool: (right.tolist(), spent) for pool, (right, spent) in found.items()} == {
        40: ([False, False, True], 40),
        50: ([True, False, True], 50),
        69: ([True, False, True], 50),
        70: ([True, True, True], 70),
        79: ([True, True, True], 70),
        80: ([False, True, True], 80),
        1000: ([False, True, True], 80),
    }
    assert within(rows(searches), ["b", "a"], 50)[0].tolist() == [True, False]
    with pytest.raises(ValueError, match="39 tokens don't pay for the first answers of 3 problems"):
        within(rows(searches), ["a", "b", "c"], 39)
    with pytest.raises(ValueError, match="the run has no problem d"):
        within(rows(searches), ["a", "d"], 100)


@pytest.mark.parametrize("order", [["p-2", "p-10", "p-1"], ["p-10", "p-1", "p-2"]])
def test_what_is_left_of_a_pool_goes_by_number_whatever_the_order_of_the_rows(order):
    searches = {problem: steps((False, 10, 0, -1.0), (True, 10, 0, 0.0)) for problem in order}
    right, spent = within(rows(searches), order, 50)
    assert dict(zip(order, right.tolist(), strict=True)) == {"p-1": True, "p-2": True, "p-10": False}
    assert spent == 50


def runs_of(settings, model="m"):
    """Runs of two problems, by setting: what each search looked at."""
    return pd.concat(
        [rows(dict(zip("ab", found, strict=True))).assign(setting=name, model=model) for name, found in settings.items()]
    )


FIRST = (False, 10, 0, -1.0)
PUBLISHED = [steps(FIRST, (True, 10, 5, 0.0)), steps(FIRST, (False, 5, 0, -1.0))]  # 40 tokens
EARLY = [steps(FIRST, (True, 4, 1, 0.0)), steps(FIRST, (False, 5, 0, -1.0), (True, 9, 0, 0.0))]  # both by 39 tokens
LATE = [steps(FIRST, (False, 10, 0, -1.0), (True, 4, 1, 0.0)), steps(FIRST, (False, 9, 0, -1.0), (True, 9, 0, 0.0))]  # none by 40


def test_settings_are_read_within_the_tokens_of_the_published_one():
    found = standings(runs_of({"late": LATE, "published": PUBLISHED, "early": EARLY}), "published").set_index("setting")
    assert found.accuracy.to_dict() == {"late": 0.0, "published": 0.5, "early": 1.0}
    assert found.tokens.to_dict() == {"late": 19.5, "published": 20.0, "early": 19.5}
    with pytest.raises(ValueError, match="m has no run of the setting published"):
        standings(runs_of({"late": LATE}), "published")


def test_the_choice_is_by_the_mean_of_all_models_and_then_by_tokens():
    one = standings(runs_of({"published": PUBLISHED, "early": EARLY, "late": LATE}), "published")
    assert chosen(one) == "early"
    other = one.assign(model="other", accuracy=one.setting.map({"published": 0.6, "early": 0.0, "late": 0.2}))
    assert chosen(pd.concat([one, other])) == "published"
    assert chosen(pd.concat([one, other[other.setting != "published"]])) == "early", "a setting without a run is passed over"
    tie = other.assign(accuracy=other.setting.map({"published": 0.5, "early": 0.0, "late": 1.0}))
    assert chosen(pd.concat([one, tie])) == "early", "0.5 each: the fewest tokens, the first by name"
