"""What was chosen on one split and judged on another: no run that settings were chosen by holds a problem of `test`."""

from pathlib import Path

import pandas as pd
import pytest
from conftest import mostly_slow

from latentseek_core import load_benchmark, load_runs
from latentseek_core.analyses.decomposition import chosen, standings
from latentseek_core.runs import is_finished
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


def judged(method: str | None = None, twin: bool = False) -> list:
    """The cells of hunt-test: what the grid chose and its opponent; or the twin, whose tokens the model draws."""
    cells = read_sweep(DATA / "sweeps" / "hunt-test.yaml")
    return [c for c in cells if method in (None, c.method) and ("token_twin" in c.variant) is twin]


def test_the_hunts_grid_is_on_tune_and_what_it_chose_is_judged_on_test():
    grid, found = read_sweep(DATA / "sweeps" / "hunt.yaml"), [*judged(), *judged(twin=True)]
    assert {config.split for config in grid} == {"tune"}
    assert {(config.split, config.limit) for config in found} == {("test", 1000)}
    for configs in (grid, found):
        assert {config.model for config in configs} == {"tiny-qwen2-1.8m", "tiny-llama-1.8m"}
    cells = [(config.method, config.reward, config.model) for config in judged()]
    assert len(cells) == len(set(cells)) == 8


def test_the_twin_is_the_chosen_setting_but_for_who_draws_the_tokens():
    def rest(config, variant):
        return config.settings() | {"variant": variant, "out": ""}

    chosen_cells = [rest(c, c.variant) for c in judged("latentseek")]
    twins = judged("latentseek", twin=True)
    assert [rest(c, c.variant.replace("+token_twin", "")) for c in twins] == chosen_cells


def test_the_opponent_may_spend_what_the_chosen_setting_spent():
    search = {(config.model, config.reward): config.out for config in judged("latentseek")}
    for config in judged("resample"):
        assert config.budget_from == search[config.model, config.reward]
        assert config.batch_size >= config.limit, "one batch, one pool"


def grid_of(method: str, reward: str) -> pd.DataFrame:
    """The grid's runs of one method under one judge, each with its setting."""
    paths = [c.out for c in read_sweep(DATA / "sweeps" / "hunt.yaml") if (c.method, c.reward) == (method, reward)]
    paths = [DATA / "runs" / "hunt" / path.parent.name / path.name for path in paths]
    assert [path for path in paths if not is_finished(path)] == [], "the grid isn't whole"
    return pd.concat([load_runs(path).assign(setting=path.name) for path in paths])


def published(reward: str) -> pd.DataFrame:
    """The published setting's runs on the same problems: with the oracle part of the grid, with self-reward older."""
    name = "latentseek-psrm--latents300-share0.1-eta0.03-rho0.1-T1.0" if reward == "psrm" else "latentseek-self-rho0.1-eta0.03"
    return load_runs(DATA / "runs" / ("hunt" if reward == "psrm" else "tiny-gsm-tune") / "*" / f"{name}*").assign(
        setting="published"
    )


@pytest.mark.parametrize("reward", mostly_slow(["psrm", "self"], "self"))
@pytest.mark.parametrize("method", mostly_slow(["latentseek", "resample"], "latentseek"))
def test_what_is_judged_on_test_is_what_the_grid_chose(method, reward):
    """The best mean over both models within the published setting's tokens; the opponent's temperature by the oracle's runs alone."""
    judge = "psrm" if method == "resample" else reward
    found = standings(pd.concat([published(judge), grid_of(method, judge)]), "published")
    best = chosen(found[found.setting != "published"])
    names = {c.out.name for c in judged(method) if c.reward == reward}
    assert names == {best.replace(f"-{judge}-", f"-{reward}-")}
