"""What guides a search: methods compared at equal cost, and a gain taken apart into the parts that controls isolate.

A run keeps every answer that it looked at, so one of K iterations holds those of 0 to K − 1 as well. Problems are what is drawn at
random: seeds are averaged within each problem, and intervals come from drawing problems, each with all that belongs to it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from ..stats import Estimate, bootstrap_difference

DRAWS = 2000


@dataclass(frozen=True)
class Track:
    """A method on n problems, as it would stand after each of K iterations.

    Attributes:
        correct: `[n, K+1]`, the share of seeds whose answer is right.
        tokens: `[n, K+1]`, mean tokens spent until then.
    """

    correct: np.ndarray
    tokens: np.ndarray


def track(rows: pd.DataFrame, ids: Sequence[str], *, best: bool = False, rounds: int | None = None) -> Track:
    """A method's track from its runs, one for each seed.

    Tokens are those that went through the model, prompts and verdicts included. A run notes them for all its problems together: here
    the prompt counts once, before each answer for `resample`, and the rest is shared out in proportion to the tokens decoded.

    Args:
        rows: whole runs as `load_runs` gives them, all of one method, one for each seed.
        ids: the problems, in the order wanted.
        best: take the best-rewarded answer so far, the earliest of equals, in place of the last.
        rounds: no more than so many iterations; all that the longest search has if None.

    Raises:
        ValueError: no run, or one that lacks a problem.
    """
    length = 1 + (max(map(len, rows.steps), default=1) - 1 if rounds is None else rounds)
    kinds, seeds = ["answer_tokens", "verifier_tokens"], []
    for name, run in rows.groupby(["run", "seed"], sort=False):
        again = run.method.iloc[0] == "resample"  # which has no cache of the prompt
        prompts = (run.prompt_tokens * (run.steps.map(len) if again else 1)).sum()
        factor = (run.forwarded_tokens.sum() - prompts) / run[kinds].to_numpy().sum()
        steps, prompt = (run.set_index("problem_id")[column] for column in ("steps", "prompt_tokens"))
        if missing := [problem for problem in ids if problem not in steps.index]:
            raise ValueError(f"the run {name[0]} has no problem {missing[0]}; compare on problems that all runs have")
        seeds.append([_after(steps[problem], length, (prompt[problem], again, factor), best) for problem in ids])
    if not seeds:
        raise ValueError("no run, so nothing to follow")
    means = np.mean(seeds, axis=0)
    return Track(means[:, 0], means[:, 1])


def _after(steps: Sequence[Mapping], length: int, cost: tuple[int, bool, float], best: bool) -> np.ndarray:
    """`[2, length]`: right or not, and tokens spent, after each iteration; a search that is over stays as it is."""
    prompt, again, factor = cost
    decoded = [step["decoded_tokens"] + step["verifier_tokens"] for step in steps]
    spent = np.cumsum([(prompt if again or not k else 0) + factor * tokens for k, tokens in enumerate(decoded)])
    shown, right = 0, []
    for k, step in enumerate(steps):
        shown = k if not best or step["reward"] > steps[shown]["reward"] else shown
        right.append(steps[shown]["correct"])
    kept = np.minimum(np.arange(length), len(steps) - 1)
    return np.array([np.asarray(right, dtype=float)[kept], spent[kept]])


def _weights(n: int, seed: int) -> np.ndarray:
    """`[1 + DRAWS, n]`: how much each problem counts, first as it is, then in each bootstrap draw."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    return np.vstack([np.ones(n), drawn]) / n


def at_budgets(one: Track, budgets: Sequence[float], seed: int = 0) -> np.ndarray:
    """Accuracy at mean tokens a problem, `[1 + DRAWS, len(budgets)]`: as it is, then in each bootstrap draw of problems.

    Between two iterations the curve is a straight line: what is reached if a share of the problems, chosen by lot, gets one more.
    Below the cost of the first answer it is that answer's, beyond the last iteration the last one's: there is nothing more to buy.
    """
    weights = _weights(len(one.correct), seed)
    pairs = zip(weights @ one.tokens, weights @ one.correct, strict=True)
    return np.array([np.interp(budgets, tokens, correct) for tokens, correct in pairs])


def curve(one: Track, seed: int = 0) -> pd.DataFrame:
    """A row for each iteration k: mean tokens a problem, accuracy, and its 95 % interval."""
    drawn = _weights(len(one.correct), seed) @ one.correct
    low, high = np.quantile(drawn[1:], [0.025, 0.975], axis=0)
    ends = {"accuracy": drawn[0], "low": low, "high": high}
    return pd.DataFrame({"k": range(len(low)), "n": len(one.correct), "tokens": one.tokens.mean(0)} | ends)


def compare(first: Track, second: Track, budgets: Sequence[float], seed: int = 0) -> pd.DataFrame:
    """A row for each budget of mean tokens a problem: accuracy of `second` minus that of `first`, with its 95 % interval.

    Each bootstrap draw takes the same problems for both, and finds anew how far the budget goes on them.

    Raises:
        ValueError: tracks of different problems.
    """
    if len(first.correct) != len(second.correct):
        raise ValueError(f"{len(first.correct)} problems against {len(second.correct)}; compare on the same problems")
    gaps = at_budgets(second, budgets, seed) - at_budgets(first, budgets, seed)
    low, high = np.quantile(gaps[1:], [0.025, 0.975], axis=0)
    return pd.DataFrame({"budget": budgets, "difference": gaps[0], "low": low, "high": high})


def by_number(problem_id: str) -> list[int]:
    """A problem's place in its benchmark, by the digits of its id: a key to sort by."""
    return [int(digits) for digits in re.findall(r"[0-9]+", problem_id)]


def within(rows: pd.DataFrame, ids: Sequence[str], pool: float) -> tuple[np.ndarray, int]:
    """A run as if its problems together might have spent no more than `pool` tokens on answers and verdicts.

    As in `resample`, iterations are done for all problems before the next begins, and what is left for the last one goes to the
    first problems: each is right or wrong, so that McNemar's test applies. A run that spends less is as it is. The first problems
    are those with the lowest numbers, not those that come first in `ids`: rows of a run stand in the order in which problems were
    finished, and the easy ones are finished first.

    Args:
        rows: one whole run as `load_runs` gives it.
        ids: the problems, in the order wanted of the results.

    Returns:
        Whether each problem's last affordable answer is right, `[n]`, and the tokens spent.

    Raises:
        ValueError: the pool doesn't even pay the first answers, or the run lacks a problem.
    """
    steps = rows.set_index("problem_id").steps
    if missing := [problem for problem in ids if problem not in steps.index]:
        raise ValueError(f"the run has no problem {missing[0]}; compare on problems that all runs have")
    searches = [steps[problem] for problem in ids]
    right, spent = np.zeros(len(searches), dtype=bool), 0
    for k, _, i in sorted((k, by_number(ids[i]), i) for i, one in enumerate(searches) for k in range(len(one))):
        step = searches[i][k]
        price = step["decoded_tokens"] + step["verifier_tokens"]
        if spent + price > pool:
            if k == 0:
                raise ValueError(f"{pool:.0f} tokens don't pay for the first answers of {len(ids)} problems")
            break
        right[i], spent = step["correct"], spent + price
    return right, spent


def standings(rows: pd.DataFrame, published: str) -> pd.DataFrame:
    """What each setting solves within the tokens of the published one: a row for each setting and model, with n, accuracy and tokens.

    A model's pool is what the published setting spent there on answers and verdicts; every run is cut at it, as `within` does.

    Args:
        rows: whole runs under one judge, as `load_runs` gives them, with a column `setting`; one run for each setting and model.
        published: the setting whose tokens count, and whose problems.

    Raises:
        ValueError: a model without the published setting, or a run that lacks a problem of it.
    """
    table = []
    for model, own in rows.groupby("model", sort=False):
        base = own[own.setting == published]
        if base.empty:
            raise ValueError(
                f"{model} has no run of the setting {published}, within whose tokens the others are read; make it first"
            )
        ids, pool = list(base.problem_id), float(base[["answer_tokens", "verifier_tokens"]].to_numpy().sum())
        for name, run in own.groupby("setting", sort=False):
            right, spent = within(run, ids, pool)
            row = {"setting": name, "model": model, "n": len(ids), "accuracy": right.mean(), "tokens": spent / len(ids)}
            table.append(row)
    return pd.DataFrame(table)


def chosen(table: pd.DataFrame) -> str:
    """The setting of `standings` with the best mean accuracy over all models; of equals the one that spends fewer tokens.

    Settings that some model has no run of are passed over.
    """
    whole = table.groupby("setting").filter(lambda runs: len(runs) == table.model.nunique())
    means = whole.groupby("setting")[["accuracy", "tokens"]].mean().round(9)  # so that equal means are equal
    return means.sort_values(["accuracy", "tokens"], ascending=[False, True]).index[0]


def difference(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """Mean of `after` minus mean of `before` on the same problems: BCa where it is defined, else the percentile interval.

    Raises:
        ValueError: as `bootstrap_difference`.
    """
    try:
        return bootstrap_difference(before, after)
    except ValueError:
        return bootstrap_difference(before, after, method="percentile")


def parts(levels: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """A gain taken apart: a row for each level but the first, what it adds to the one before, with its 95 % interval.

    The parts add up to the last level minus the first. What a part is called fits only in the order given: where two things help
    together, the one that is added later gets what they share.

    Args:
        levels: for each, in order, the outcomes on the same problems in the same order; seeds averaged.
    """
    rows = []
    for (_, before), (name, after) in pairwise(levels.items()):
        found = difference(before, after)
        rows.append({"part": name, "n": len(after), "gain": found.estimate, "low": found.low, "high": found.high})
    return pd.DataFrame(rows)
