"""Results as tables: no accuracy without n, interval and cost, no comparison without the same problems."""

import pandas as pd

from .recipes import published_accuracy
from .stats import holm, interval, paired

TOKENS = ["prompt_tokens", "answer_tokens", "verifier_tokens"]
# Runs are compared where these are the same.
TASK = ["model", "benchmark", "split", "prompt"]


def accuracy_table(rows: pd.DataFrame, by: str = "method") -> pd.DataFrame:
    """A row for each value of `by`, in order of appearance: n, accuracy with its 95 % interval, and mean tokens a problem.

    Args:
        rows: a row a problem, as from `load_runs`.
    """
    table = []
    for name, group in rows.groupby(by, sort=False):
        low, high = interval(group.correct)
        means = group[["n_iterations", *TOKENS]].mean()
        table.append({by: name, "n": len(group), "accuracy": group.correct.mean(), "low": low, "high": high, **means})
    return pd.DataFrame(table)


def comparison_table(rows: pd.DataFrame) -> pd.DataFrame:
    """`accuracy_table` by run, with lenient accuracy, and each run against the chain of thought on the same problems.

    `won` and `lost` count the problems that only the run, and only the chain of thought, solved; `p` is McNemar's exact test, `p_holm`
    the same after Holm's correction for all comparisons of the table; `published` the paper's figure (version 3) for the recipe that
    the run was started by.
    """
    table = accuracy_table(rows, by="run")
    groups = dict(list(rows.groupby("run", sort=False)))
    table["loose"] = [groups[name].correct_loose.mean() for name in table.run]
    against = [_against_cot(groups[name], groups) for name in table.run]
    table[["won", "lost", "p"]] = pd.DataFrame(against, dtype=float)
    compared = table.p.notna()
    table["p_holm"] = pd.Series(
        holm(table.p[compared].tolist()) if compared.any() else [], index=table.index[compared], dtype=float
    )
    table["published"] = pd.Series([_published(groups[name]) for name in table.run], dtype=float)
    return table


def _against_cot(group: pd.DataFrame, groups: dict[str, pd.DataFrame]) -> tuple:
    """Won, lost and p against the chain of thought on the same task; nothing where there is none, or not on the same problems."""
    if group.method.iloc[0] == "cot":
        return None, None, None
    mine = group.set_index("problem_id").correct
    for other in groups.values():
        baseline = other.set_index("problem_id").correct
        same_task = (other[TASK].iloc[0] == group[TASK].iloc[0]).all()
        if other.method.iloc[0] == "cot" and same_task and mine.index.isin(baseline.index).all():
            found = paired(baseline[mine.index].tolist(), mine.tolist())
            return found.gained, found.lost, found.p_value
    return None, None, None


def _published(group: pd.DataFrame) -> float | None:
    recipe = group.recipe.iloc[0]
    return published_accuracy(recipe) if recipe.startswith("table1/") else None
