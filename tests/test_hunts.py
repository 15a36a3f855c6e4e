"""What was chosen on one split and judged on another: no run that settings were chosen by holds a problem of `test`."""

from pathlib import Path

import pytest

from latentseek_core import load_benchmark
from latentseek_core.store import read_config, read_rows, root_of
from latentseek_core.sweeps import read_sweep

DATA = Path(__file__).resolve().parents[1] / "data"
RUNS = sorted((DATA / "runs").glob("*/*/*.zip"))
TUNED = [path for path in RUNS if read_config(root_of(path))["split"] == "tune"]


def test_there_are_tuning_runs_and_they_lie_apart():
    assert {path.parts[-3] for path in TUNED} >= {"tiny-gsm-tune", "outcome-tune"}
    folders = {path.parts[-3] for path in TUNED}
    assert [path for path in RUNS if path.parts[-3] in folders and path not in TUNED] == []


@pytest.mark.parametrize("path", TUNED, ids=lambda path: "/".join(path.parts[-3:]))
def test_no_test_problem_occurs_in_a_tuning_run(path):
    """By id, and by what is asked, read from the packed lines themselves."""
    config, rows = read_config(root_of(path)), read_rows(root_of(path))
    test = {problem.id: problem for problem in load_benchmark(config["benchmark"], split="test")}
    tune = {problem.id: problem for problem in load_benchmark(config["benchmark"], split="tune")}
    seen = [row["problem_id"] for row in rows]
    assert seen
    assert not set(seen) & set(test)
    assert set(seen) <= set(tune)
    assert not {tune[name].question for name in seen} & {problem.question for problem in test.values()}


def test_the_hunts_grid_is_on_tune_and_what_it_chose_is_judged_on_test():
    grid = read_sweep(DATA / "sweeps" / "hunt.yaml")
    assert {config.split for config in grid} == {"tune"}
    assert {config.model for config in grid} == {"tiny-qwen2-1.8m", "tiny-llama-1.8m"}
