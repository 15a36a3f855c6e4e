"""What the embedded models' committed files say, as tables: accuracies, kinds of mistake, verdicts, calibration.

Everything is counted from answers and verdicts that are already written down; no model is loaded. Every share comes with the
number that it is of, and with its 95 % interval.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from ..stats import holm, interval
from . import checks
from .benchmark import draw_tasks
from .tasks import Task
from .train import Recipe

# What may be wrong with a wrong answer, and the check that says so. An answer may fail several, or none: then all its steps are
# right, and the box holds something else than their result.
MISTAKES = {"understanding": "understanding_check", "calculation": "calculation_check", "completeness": "answer_completeness"}
NO_MISTAKE = "none of these"
JUDGED = (*checks.CHECKS, "reward")
RATES = {"accepted when right": True, "refused when wrong": False}
KINDS = ("solve", "maths", "drill", "compare", "equations", "verify")


def share(count: int, n: int) -> dict[str, float]:
    """`count` of `n` as n, share, low and high; a share of nothing is no number."""
    low, high = interval([True] * count + [False] * (n - count)) if n else (float("nan"), float("nan"))
    return {"n": n, "share": count / n if n else float("nan"), "low": low, "high": high}


def written(row: Mapping[str, Any]) -> str:
    """A share as text: `94.1% [90.3%, 96.4%] of 236`."""
    return f"{row['share']:.1%} [{row['low']:.1%}, {row['high']:.1%}] of {row['n']}" if row["n"] else "none seen"


def stage_table(recipe: Recipe, log: pd.DataFrame) -> pd.DataFrame:
    """The stages of a training that are in its log: the mixture, how long it took, and the last loss."""
    table, before = [], 0.0
    for stage in (stage for stage in recipe.stages if stage.name in set(log.stage)):
        part = log[log.stage == stage.name]
        row = {"stage": stage.name, "million tokens": stage.tokens / 1e6, "learning rate": stage.learning_rate}
        row |= {kind: getattr(stage.mixture, kind) for kind in KINDS} | {"own answers": stage.sample_own}
        row |= {"minutes": (part.seconds.max() - before) / 60, "last loss": part.loss.iloc[-1]}
        table.append(row)
        before = part.seconds.max()
    return pd.DataFrame(table)


def accuracy_table(measured: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each benchmark and way of asking in a model's `measured.json`."""
    rates = {(b, f"prompt {style}"): rate for style, by in measured["accuracy"].items() for b, rate in by.items()}
    rates["tiny-gsm", "one worked example before it"] = measured["few_shot"]
    rates |= {("tiny-gsm", f"made to begin with “{word}”"): rate for word, rate in measured["begun_with"].items()}
    return pd.DataFrame(
        {"benchmark": benchmark, "asked": asked, **rate, "share": rate["accuracy"]} for (benchmark, asked), rate in rates.items()
    )


def tasks_behind(rows: pd.DataFrame) -> list[Task]:
    """The task of each row of `load_runs`, found by the number in the problem's id (`test-7`).

    Raises:
        ValueError: a run of other problems than those that the generator draws now.
    """
    places, tasks = [int(name.rsplit("-", 1)[1]) for name in rows.problem_id], {}
    for benchmark, split in set(zip(rows.benchmark, rows.split, strict=True)):
        tasks[benchmark, split] = draw_tasks(benchmark, split, max(places) + 1, seed=0)
    found = [tasks[b, s][place] for b, s, place in zip(rows.benchmark, rows.split, places, strict=True)]
    for task, name, gold in zip(found, rows.problem_id, rows.gold, strict=True):
        if task.answer != gold:
            raise ValueError(f"{name} has the answer {gold}, the generator's has {task.answer}: the run is of other problems")
    return found


def mistake_table(tasks: Sequence[Task], rows: pd.DataFrame) -> pd.DataFrame:
    """A row an answer: how long its problem is, whether it misleads, whether the answer is right, and which checks it fails."""
    table = []
    for task, model, text, right in zip(tasks, rows.model, rows.answer_text, rows.correct, strict=True):
        failed = {kind: not checks.check(name, task, text)[1] for kind, name in MISTAKES.items()}
        row = {"model": model, "steps": len(task.steps), "distractors": len(task.distractors) > 0, "right": right}
        table.append(row | failed | {NO_MISTAKE: not any(failed.values())})
    return pd.DataFrame(table)


def mistake_shares(mistakes: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    """Of the wrong answers of each group: the share that fails each check. `answers` are all, `n` the wrong ones."""
    keys, table = [by] if isinstance(by, str) else by, []
    for group, part in mistakes.groupby(keys, sort=False):
        wrong = part[~part.right]
        for kind in (*MISTAKES, NO_MISTAKE):
            row = dict(zip(keys, group, strict=True)) | {"kind": kind, "answers": len(part)}
            table.append(row | share(int(wrong[kind].sum()), len(wrong)))
    return pd.DataFrame(table)


def judged_answers(tasks: Sequence[Task], rows: pd.DataFrame, threshold: float = -0.2) -> pd.DataFrame:
    """A row for each different answer of a run led by self-reward: the verdicts, and beside each what it should have been.

    `source` is `first` or `later`; an answer that a search comes back to counts once. A verdict that can't be read is a refusal.
    The verdict `reward` is that the reward's `value` lies above the threshold, its truth that the answer is right.
    """
    table = []
    for task, (_, run) in zip(tasks, rows.iterrows(), strict=True):
        # The first of equal texts stands for all of them.
        different = {step["answer_text"]: step for step in reversed(run.steps)}
        for text, step in different.items():
            row = {"model": run.model, "problem_id": run.problem_id, "value": step["reward"], "right": step["correct"]}
            row["source"] = "first" if step["iteration"] == 0 else "later"
            for name in checks.CHECKS:
                row |= {name: step["checks"][name] is True, f"{name}, truth": checks.check(name, task, text)[1]}
            table.append(row | {"reward": step["reward"] > threshold, "reward, truth": step["correct"]})
    return pd.DataFrame(table)


def verdict_rates(judged: pd.DataFrame) -> pd.DataFrame:
    """How often each check, and the reward, accepts what it should accept and refuses what it should refuse."""
    table = []
    for name in JUDGED:
        for rate, wanted in RATES.items():
            of = judged[judged[f"{name}, truth"] == wanted]
            table.append({"check": name, "rate": rate, **share(int((of[name] == wanted).sum()), len(of))})
    return pd.DataFrame(table)


def measured_rates(verdicts: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """The same of a table in `measured.json`, which holds counts and rates without intervals."""
    table = []
    for name, counts in verdicts.items():
        for rate, n, known in zip(RATES, ("n_right", "n_wrong"), ("true_accept", "true_reject"), strict=True):
            found = share(round((counts[known] or 0) * counts[n]), counts[n])
            table.append({"check": name, "rate": rate, **found})
    return pd.DataFrame(table)


def moved(measured: Mapping[str, Any], again: Mapping[str, Any]) -> pd.DataFrame:
    """Each share in two trainings' `measured.json`: what it is of (`figure`), both as `share` gives them (`here`, `again`), the
    difference in `points`, and the `p` of Fisher's exact test. Shares of nothing are left out."""
    table = []
    for (figure, here), (_, there) in zip(_shares_of(measured), _shares_of(again), strict=True):
        counts = [(round(row["share"] * row["n"]), row["n"]) for row in (here, there) if row["n"]]
        if len(counts) == 2:
            p = fisher_exact([(right, n - right) for right, n in counts]).pvalue
            points = 100 * (there["share"] - here["share"])
            table.append({"figure": figure, "here": here, "again": there, "points": points, "p": p})
    return pd.DataFrame(table)


def _shares_of(measured: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in accuracy_table(measured).to_dict("records"):
        yield f"{row['benchmark']}, {row['asked']}", row
    for source, verdicts in measured["verifier"].items():
        for row in measured_rates(verdicts).to_dict("records"):
            yield f"{row['check']}, {source}, {row['rate']}", row


def moved_said(table: pd.DataFrame, level: float = 0.05) -> str:
    """How many figures moved by more than chance, in words: after Holm's correction, and before it."""
    some, sure = table[table.p < level], table[np.array(holm(table.p)) < level]
    which = "; ".join(f"{row.figure} ({row.points:+.1f})" for row in sure.itertuples())
    return (
        f"Of {len(table)} figures {len(some)} differ by Fisher's exact test at p < {level} (about {level * len(table):.1f} would by chance), "
        f"{len(sure)} after Holm's correction{f': {which}' if which else ''}."
    )


def judge_worth(rates: pd.DataFrame, name: str = "reward") -> float:
    """Both rates together, less one: 1 for a judge who knows, 0 for one who says the same of right and wrong answers."""
    return float(rates[rates.check == name].share.sum(skipna=False) - 1)


def reliability(judged: pd.DataFrame) -> pd.DataFrame:
    """For each value that the reward takes: how many answers have it, and the share of them that is right."""
    table = []
    for (model, source, value), part in judged.groupby(["model", "source", judged.value.round(6)]):
        table.append({"model": model, "source": source, "value": value, **share(int(part.right.sum()), len(part))})
    return pd.DataFrame(table)
