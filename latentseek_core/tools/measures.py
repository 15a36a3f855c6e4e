"""What the ledger can measure: numbers with intervals, over the runs of one model on one task or over the paper's own tables.

A measurement is a function of a `Column`, of the bound that its p is to be tested against (None: it has no p), and of the arguments
that a claim's test gives it; `MEASURES` has them by name.
"""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest, norm, ttest_1samp

from .. import cost
from ..configs import RunConfig
from ..problems import DATA
from ..published import load_published
from ..runs import is_finished, load_runs
from ..stats import Estimate, bootstrap_mean, interval, paired
from ..store import CONFIG

RUNS = DATA / "runs"
COLUMN = ["model", "benchmark", "prompt"]
LEAST = 10  # problems that a comparison must share
# Where runs differ in these alone, they repeat one measurement; in all else they are different ones.
REPEATS = {*COLUMN, "split", "method", "seed", "start", "limit", "ids", "shard", "device", "dtype", "batch_size", "budget_from"}
SETTINGS = [name for name in RunConfig.model_fields if name not in REPEATS | {"out", "recipe", "verifiers"}]
KEPT = ["run", *COLUMN, "split", "method", *SETTINGS, "problem_id", "correct", "n_iterations", "answer_tokens", "verifier_tokens"]


@dataclass(frozen=True)
class Effect:
    """A measurement: its number with the interval, in `unit`; `p` against the rule's bound; the accuracies and tokens behind it."""

    n: int
    value: float
    low: float
    high: float
    unit: str = ""
    p: float | None = None
    solved: str = ""
    tokens: str = ""
    runs: tuple[str, ...] = ()


class NotRunError(Exception):
    """There is no run that a test asks for."""


def read_runs(folder: Path = RUNS) -> pd.DataFrame:
    """All finished runs anywhere below a folder, a row a problem; `run` is the path from there. Of an unfinished search the problems
    already done are the easy ones.

    Of the answers looked at only what the ledger asks is kept: `trace`, a `Seen` each; `budgeted` says whether tokens were limited.

    Raises:
        ValueError: no such folder, or a damaged run.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder} to look for runs in; name one by --runs")
    places = [path for path in sorted(folder.rglob("*")) if path.suffix == ".zip" or (path / CONFIG).is_file()]
    frames = []
    for path in places:
        if not is_finished(path):
            continue
        rows = load_runs(path)
        name = re.sub(r"(\.\d+-of-\d+)?(\.zip)?$", "", path.relative_to(folder).as_posix())
        traces = [[_seen(step) for step in steps] for steps in rows.steps]
        settings = "|".join(map(repr, rows[SETTINGS].iloc[0]))
        kept = rows.assign(run=name)[KEPT]
        frames.append(kept.assign(trace=traces, text=rows.answer_text, settings=settings, budgeted=rows.budget_from.notna()))
    blank = pd.DataFrame(columns=[*KEPT, "trace", "text", "settings", "budgeted"])
    return pd.concat(frames, ignore_index=True) if frames else blank


class Seen(NamedTuple):
    """An answer that was looked at on the way: whether it is right, its reward, and the tokens that it took."""

    correct: bool
    reward: float | None
    text: str
    answer_tokens: int = 0
    verifier_tokens: int = 0


def _seen(step: Mapping[str, Any]) -> Seen:
    tokens = (step.get(name) or 0 for name in ("decoded_tokens", "verifier_tokens"))
    return Seen(step["correct"], step.get("reward"), step["answer_text"], *tokens)


@dataclass
class Column:
    """One model on one task: its runs, and how tests choose among them."""

    rows: pd.DataFrame
    chosen: dict[str, pd.DataFrame] = field(default_factory=dict)

    def select(self, wanted: Mapping[str, Any]) -> pd.DataFrame:
        """The runs with these settings; a list stands for any of its values. Plain searches on other splits than `tune` are meant
        unless said otherwise, and of several settings those of the main search. Runs that differ by seed count together.

        Raises:
            NotRunError: there is none.
        """
        wanted = {"variant": "", "split": [name for name in self.rows.split.unique() if name != "tune"]} | dict(wanted)
        key = repr(sorted(wanted.items()))
        if key not in self.chosen:
            found = self.rows
            for name, value in wanted.items():
                if name != "at":
                    found = found[found[name].isin(value if isinstance(value, list) else [value])]
            if not len(found):
                raise NotRunError(name_of(wanted))
            self.chosen[key] = _as_of(self._nearest(found), wanted.get("at"))
        return self.chosen[key]

    def _nearest(self, found: pd.DataFrame) -> pd.DataFrame:
        counts, usual = found.settings.value_counts().sort_index(), self.usual.split("|")
        alike = {key: sum(a == b for a, b in zip(key.split("|"), usual, strict=True)) for key in counts.index}
        return found[found.settings == max(alike, key=lambda key: (alike[key], counts[key]))]

    @cached_property
    def usual(self) -> str:
        """The settings of the main search: those that most problems were searched with."""
        searches = self.rows[(self.rows.method == "latentseek") & (self.rows.variant == "") & (self.rows.split != "tune")]
        counts = (searches if len(searches) else self.rows).settings.value_counts().sort_index()
        return counts.idxmax()

    @cached_property
    def own_words(self) -> set[str]:
        """Every word of an answer that the model gave without a search."""
        texts = [trace[0].text for trace in self.rows.trace if trace]
        plain = self.rows[self.rows.method != "latentseek"]
        texts += [seen.text for trace in plain.trace for seen in trace] + plain.text.tolist()
        return {word for text in set(texts) for word in _words(text)}


def _words(text: str, most: int | None = None) -> list[str]:
    """The words of a text, or of its beginning: small letters, no punctuation; what has no letters is left out."""
    words = [re.sub("[0-9]+", "#", piece.strip(string.punctuation)) for piece in text.lower().split()[:most]]
    return [word for word in words if any(map(str.isalpha, word))]


def name_of(wanted: Mapping[str, Any]) -> str:
    """What a selection is called on the page."""
    words = [" or ".join(v) if isinstance(v, list) else v for v in map(wanted.get, ("method", "variant", "reward"))]
    rest = {n: " or ".join(map(str, v)) if isinstance(v, list) else v for n, v in wanted.items()}
    rest = [f"{n} {v}" for n, v in rest.items() if n not in ("method", "variant", "reward", "split", "budgeted", "at")]
    return " ".join(filter(None, [*words, *([f"({', '.join(rest)})"] if rest else [])]))


QUANTITIES = {
    "correct": lambda rows: rows.correct,
    "iterations": lambda rows: rows.n_iterations,
    "iterations allowed": lambda rows: rows.max_iterations,
    "tokens": lambda rows: rows.answer_tokens + rows.verifier_tokens,
    "characters": lambda rows: [len(trace[-1].text) for trace in rows.trace],
    "characters of the first answer": lambda rows: [len(trace[0].text) for trace in rows.trace],
}


def _values(rows: pd.DataFrame, quantity: str) -> pd.Series:
    """A number for each problem, in the order of their names: the mean over repeats."""
    found = np.asarray(QUANTITIES[quantity](rows), dtype=float)
    return pd.Series(found, index=rows.problem_id.to_numpy()).groupby(level=0, sort=True).mean()


def _as_of(rows: pd.DataFrame, at: int | str | None) -> pd.DataFrame:
    """Searches as they would stand with K = `at`, or (`best`) with the best-rewarded answer returned, the earliest of equals."""
    if at is None:
        return rows
    if at == "best":
        best = [max(trace, key=lambda seen: seen.reward) for trace in rows.trace]
        return rows.assign(correct=[seen.correct for seen in best])
    kept = [trace[: at + 1] for trace in rows.trace]
    spent = {
        name: [sum(getattr(seen, name) for seen in trace) for trace in kept] for name in ("answer_tokens", "verifier_tokens")
    }
    return rows.assign(correct=[trace[-1].correct for trace in kept], trace=kept, **spent)


def tokens_of(*selections: pd.DataFrame) -> str:
    """Mean answer and verdict tokens of each selection, on the problems that all have."""
    shared = set.intersection(*(set(rows.problem_id) for rows in selections))
    means = [rows[rows.problem_id.isin(shared)][["answer_tokens", "verifier_tokens"]].mean() for rows in selections]
    return " against ".join(f"{mean.answer_tokens:.0f} + {mean.verifier_tokens:.0f}" for mean in means)


def _used(*selections: pd.DataFrame) -> tuple[str, ...]:
    return tuple(sorted({run for rows in selections for run in rows.run}))


def _against(values: np.ndarray, bound: float | None) -> float | None:
    """p of a t-test of a mean against a bound."""
    if bound is None or len(values) < 2:
        return None
    return float(ttest_1samp(values, bound).pvalue) if np.ptp(values) else float(values[0] == bound)


def _mean(values: np.ndarray) -> Estimate:
    return bootstrap_mean(values, n_resamples=2000, method="percentile")  # as in the notebooks


def difference(column: Column, bound: float | None, of: dict, minus: dict, quantity: str = "correct") -> Effect:
    """Mean difference of two methods on the problems that both answered, with its bootstrap interval; solved problems in points,
    tested by McNemar's exact test where the bound is 0."""
    first, second = column.select(of), column.select(minus)
    a, b = _shared(first, second, quantity, quantity)
    scale, unit = (100, " points") if quantity == "correct" else (1, " " + quantity)
    found, p = _mean(scale * (a - b)), _against(scale * (a - b), bound)
    if quantity == "correct" and not np.any(a != b):  # resampling can't show what the sample doesn't; an exact bound can
        most = 100 * (1 - 0.025 ** (1 / len(a)))
        found = Estimate(0.0, -most, most)
    solved = f"{a.mean():.1%} against {b.mean():.1%}" if quantity == "correct" else f"{a.mean():.3g} against {b.mean():.3g}"
    if quantity == "correct" and bound == 0 and set(a) | set(b) <= {0.0, 1.0}:
        p = paired(b.astype(bool), a.astype(bool)).p_value
    return Effect(len(a), *found, unit, p, solved, tokens_of(first, second), _used(first, second))


def _shared(first: pd.DataFrame, second: pd.DataFrame, *quantities: str) -> tuple[np.ndarray, np.ndarray]:
    """A quantity of each of two selections, for the problems that both answered."""
    a, b = _values(first, quantities[0]), _values(second, quantities[1])
    shared = a.index.intersection(b.index, sort=True)
    if len(shared) < LEAST:
        runs = " and ".join(rows.run.iloc[0] for rows in (first, second))
        raise NotRunError(f"{runs} share {len(shared)} problems")
    return a[shared].to_numpy(), b[shared].to_numpy()


def mean(column: Column, bound: float | None, of: dict, quantity: str) -> Effect:
    """A mean over problems with its bootstrap interval."""
    rows = column.select(of)
    values = _values(rows, quantity).to_numpy()
    return Effect(len(values), *_mean(values), " " + quantity, _against(values, bound), "", tokens_of(rows), _used(rows))


def ratio(column: Column, bound: float | None, of: dict, over: dict, quantity: str, over_quantity: str | None = None) -> Effect:
    """Total over total on the same problems; its interval by linearisation: problems are what was drawn."""
    first, second = column.select(of), column.select(over)
    a, b = _shared(first, second, quantity, over_quantity or quantity)
    value = a.sum() / b.sum()
    error = (a - value * b).std(ddof=1) / b.mean() / np.sqrt(len(a))
    p = None if bound is None else float(2 * norm.sf(abs(value - bound) / max(error, 1e-12)))
    low, high = value - 1.96 * error, value + 1.96 * error
    return Effect(len(a), value, low, high, " times", p, "", tokens_of(first, second), _used(first, second))


def share(column: Column, bound: float | None, of: dict, flag: str) -> Effect:
    """The share of answers of which something is so (`FLAGS`), in percent, with Wilson's interval and the exact binomial test."""
    rows = column.select(of)
    flags = FLAGS[flag](column, rows)
    if len(flags) < LEAST:
        raise NotRunError(f"{name_of(of)} has {len(flags)} answers to ask that of")
    low, high = interval(flags)
    p = None if bound is None else float(binomtest(sum(flags), len(flags), bound / 100).pvalue)
    return Effect(len(flags), 100 * np.mean(flags), 100 * low, 100 * high, "%", p, "", tokens_of(rows), _used(rows))


def _agrees(column: Column, rows: pd.DataFrame) -> list[bool]:
    """Of each different answer that a search looked at: is (reward > τ) the truth?"""
    different = [{seen.text: seen for seen in reversed(trace)} for trace in rows.trace]
    limits = rows.reward_threshold
    return [(seen.reward > tau) == seen.correct for by, tau in zip(different, limits, strict=True) for seen in by.values()]


def _strange(column: Column, trace: list) -> bool:
    return not column.own_words.issuperset(_words(trace[-1].text, 3))


FLAGS = {
    "verdict agrees": _agrees,
    "wrong at first, right in the end": lambda column, rows: [t[-1].correct for t in rows.trace if not t[0].correct],
    "right at first, wrong in the end": lambda column, rows: [not t[-1].correct for t in rows.trace if t[0].correct],
    "strange opening": lambda column, rows: [_strange(column, t) for t in rows.trace if t[0].text != t[-1].text],
    "right behind a strange opening": lambda column, rows: [t[-1].correct for t in rows.trace if _strange(column, t)],
}


def published(
    column: Column,
    bound: float | None,
    table: str,
    where: str = "",
    of: str = "",
    minus: str = "",
    value: str = "accuracy_pct",
    by: str = "method",
    so: str = "",
) -> Effect:
    """From a published table: the mean of its cells, the mean difference of two methods' cells, or (`so`) the share of cells of
    which something is so. The interval is over cells, as if they had been drawn."""
    cells = load_published(table)
    cells = cells.query(where) if where else cells
    if so:
        flags = cells.eval(so).tolist()
        low, high = interval(flags)
        return Effect(len(flags), 100 * np.mean(flags), 100 * low, 100 * high, "% of cells")
    units = [name for name in ("benchmark", "prompt", "model") if name in cells and name != by]
    found = cells[cells[by] == of] if of else cells
    found = found.set_index(units)[value] if units else found[value]
    solved = f"{found.mean():.2f} against " if minus else ""
    if minus:
        other = cells[cells[by] == minus]
        other = other.set_index(units)[value][found.index] if units else other[value]
        solved += f"{other.mean():.2f}"
        found = found.reset_index(drop=True) - other.reset_index(drop=True)
    values = found.dropna().to_numpy()
    whole = _mean(values) if len(values) > 1 else Estimate(*[float(values[0])] * 3)
    return Effect(len(values), *whole, " points" if minus else "", _against(values, bound), solved)


def break_even(column: Column, bound: float | None, count: str) -> Effect:
    """The number of problems at which training (Genius) and searching cost as many FLOPs; arithmetic, without an interval."""
    value = cost.break_even(getattr(cost, count)())
    return Effect(1, value, value, value, " problems")


MEASURES = {f.__name__: f for f in (difference, mean, ratio, share, published, break_even)}
ON_PAPER = {"published", "break_even"}
