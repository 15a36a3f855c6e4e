"""Tables of runs: counted by hand on rows made up for it."""

import pandas as pd
import pytest
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from latentseek_core.recipes import published_accuracy
from latentseek_core.tables import accuracy_table, comparison_table


def rows(run, method, right, n=20, recipe="", **task):
    task = {"model": "m", "benchmark": "b", "split": "test", "prompt": "boxed"} | task
    spent = {"prompt_tokens": 10, "answer_tokens": 20, "verifier_tokens": 4, "n_iterations": 1, "recipe": recipe}
    return pd.DataFrame(
        [
            {"run": run, "method": method, "problem_id": i, "correct": i in right, "correct_loose": i < 15, **task, **spent}
            for i in range(n)
        ]
    )


COT, BETTER = rows("cot", "cot", range(8)), rows("seek", "latentseek", range(2, 18))


def test_accuracy_comes_with_n_interval_and_tokens():
    table = accuracy_table(pd.concat([COT, BETTER]), by="run")
    assert list(table.run) == ["cot", "seek"]
    assert list(table.n) == [20, 20]
    assert list(table.accuracy) == [0.4, 0.8]
    assert (table.low[0], table.high[0]) == pytest.approx(proportion_confint(8, 20, method="wilson"))
    assert (table.prompt_tokens[0], table.answer_tokens[0], table.verifier_tokens[0]) == (10, 20, 4)


def test_runs_are_compared_with_the_chain_of_thought_on_the_same_problems():
    third = rows("again", "resample", range(12))
    table = comparison_table(pd.concat([BETTER, COT, third])).set_index("run")
    assert (table.won.seek, table.lost.seek) == (10, 2)
    p = [binomtest(10, 12).pvalue, binomtest(4, 4).pvalue]
    assert [table.p.seek, table.p.again] == pytest.approx(p)
    assert [table.p_holm.seek, table.p_holm.again] == pytest.approx(
        [2 * p[0], p[1]] if p[0] < p[1] else [max(p[0], 2 * p[1]), 2 * p[1]]
    )
    assert pd.isna(table.p.cot)
    assert (table.loose == 0.75).all()


@pytest.mark.parametrize("other", [{"prompt": "json"}, {"model": "x"}, {"benchmark": "x"}, {"split": "tune"}])
def test_other_tasks_are_not_compared(other):
    assert comparison_table(pd.concat([rows("cot", "cot", range(8), **other), BETTER])).p.isna().all()


def test_other_problems_are_not_compared():
    assert comparison_table(pd.concat([rows("cot", "cot", range(8), n=15), BETTER])).p.isna().all()
    part = comparison_table(pd.concat([COT, rows("seek", "latentseek", range(2, 12), n=12)])).set_index("run")
    assert (part.won.seek, part.lost.seek) == (4, 2), "on the first 12 problems, which both answered"


def test_a_rerun_cell_shows_the_published_figure():
    name = "table1/gsm8k-qwen2.5-7b-self-json"
    table = comparison_table(pd.concat([COT, rows("cell", "latentseek", range(9), recipe=name)])).set_index("run")
    assert table.published.cell == published_accuracy(name)
    assert pd.isna(table.published.cot)
