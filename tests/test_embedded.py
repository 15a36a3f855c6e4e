"""What the embedded models are in the box for: the method has something to do on them, and their verdicts are worth something."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

import pandas as pd
import pytest
from conftest import mostly_slow

from latentseek_core import (
    OutcomeReward,
    PerfectSparseReward,
    Policy,
    SeekConfig,
    SelfReward,
    embedded_models,
    is_correct,
    load_benchmark,
    load_runs,
    seek,
)
from latentseek_core.methods import Options, cot, resample
from latentseek_core.policy import MODELS_FOLDER, shared_length
from latentseek_core.prompts import render_checks
from latentseek_core.stats import interval, paired
from latentseek_core.tiny import checks, measure
from latentseek_core.tiny.benchmark import draw_tasks
from latentseek_core.tiny.card import EARLY, mistakes
from latentseek_core.tiny.examples import as_problem
from latentseek_core.tiny.outcome import NAME
from latentseek_core.tiny.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "data" / "runs" / "tiny-gsm"
MODELS = embedded_models()
FINISHED = [name for name in MODELS if not name.endswith(EARLY)]
SMALL = ["tiny-qwen2-1.8m", "tiny-llama-1.8m"]
N = 200
CONFIG = SeekConfig(max_new_tokens=256)


@lru_cache
def policy(name: str) -> Policy:
    return Policy.from_pretrained(name)


@lru_cache
def measured(name: str) -> dict:
    return json.loads((MODELS_FOLDER / name / "measured.json").read_text())


@pytest.mark.parametrize("name", [name for name in FINISHED if RECIPES[name].grown_from])
def test_a_larger_model_is_better_than_the_one_it_grew_from(name):
    rates = [measured(each)["accuracy"]["boxed"]["tiny-gsm"]["accuracy"] for each in (name, RECIPES[name].grown_from)]
    assert rates[0] > rates[1]


def test_two_architectures_and_an_early_model_are_in_the_box():
    assert {name.removesuffix(EARLY) for name in MODELS} == set(RECIPES)
    assert any(name.endswith(EARLY) for name in MODELS)
    assert sum(path.stat().st_size for path in MODELS_FOLDER.rglob("*")) < 64e6


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_what_it_is(name):
    folder = MODELS_FOLDER / name
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "README.md", "prompts", "measured.json", "training.csv"} <= names
    card, figures = (folder / "README.md").read_text(), measured(name)
    assert f"latentseek tiny train {name.removesuffix(EARLY)}" in card
    assert figures["weights_sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    for rates in figures["accuracy"].values():
        for rate in rates.values():
            low, high = interval(
                [True] * round(rate["accuracy"] * rate["n"]) + [False] * round((1 - rate["accuracy"]) * rate["n"])
            )
            assert (low, high) == pytest.approx((rate["low"], rate["high"]))
            assert f"{rate['accuracy']:.1%} [{low:.1%}, {high:.1%}]" in card
    log = pd.read_csv(folder / "training.csv")
    assert log.tokens.is_monotonic_increasing
    assert log.tokens.max() == figures["training_tokens"]


@pytest.mark.parametrize("name", MODELS)
def test_no_text_has_a_token_that_the_model_lacks(name):
    assert len(policy(name).tokenizer) <= policy(name).text_config.vocab_size
    assert max(policy(name).encode("<|endoftext|> é ∑ </s>")) < policy(name).text_config.vocab_size


@pytest.mark.parametrize("name", mostly_slow(FINISHED, SMALL[0]))
def test_it_answers_in_both_formats_and_its_verdicts_can_be_read(name):
    stories = draw_tasks("tiny-gsm", "tune", 24, 3)
    for style in ("boxed", "json"):
        answers = measure.answers_of(policy(name), stories, style=style)
        assert measure.accuracy(stories, answers, style) > 0.2
    scores = SelfReward(policy(name))([as_problem(s) for s in stories], measure.answers_of(policy(name), stories))
    assert sum(verdict is None for score in scores for verdict in score.checks.values()) <= 4


@pytest.mark.slow
def test_four_verdicts_share_one_reading():
    stories, judge = draw_tasks("tiny-gsm", "tune", 8, 4), policy(SMALL[0])
    problems, answers = [as_problem(s) for s in stories], measure.answers_of(judge, stories)
    reward = SelfReward(judge)
    judge.forwarded_tokens = 0
    scores = reward(problems, answers)
    floor = 0
    for problem, answer, score in zip(problems, answers, scores, strict=True):
        prompts = [judge.encode(m) for m in render_checks(problem, answer, reward.prompt).values()]
        shared = shared_length(prompts)
        assert shared > 0.9 * len(prompts[0])
        floor += shared + sum(len(ids) - shared for ids in prompts) + score.tokens
    assert judge.forwarded_tokens <= floor


@pytest.mark.parametrize("name", FINISHED)
def test_the_chain_of_thought_is_in_range_and_the_lever_is_there(name):
    figures = measured(name)
    assert 0.3 <= figures["accuracy"]["boxed"]["tiny-gsm"]["accuracy"] <= 0.7
    assert figures["begun_with"]["Carefully"]["accuracy"] > figures["begun_with"]["First"]["accuracy"] + 0.05


@pytest.mark.parametrize("name", SMALL)
def test_the_runs_are_of_this_model_and_rise_from_step_to_step(name):
    """Chain of thought < LatentSeek (self) < LatentSeek (PSRM), each step beyond chance."""
    rows = load_runs(RUNS / name / "*")
    solved = rows.pivot(index="problem_id", columns="run", values="correct")
    assert len(solved) == 1000
    assert measured(name)["accuracy"]["boxed"]["tiny-gsm"]["accuracy"] == pytest.approx(solved.cot.mean(), abs=0.005)
    assert (solved["latentseek-psrm"] >= solved.cot).all()
    for low, high in (("cot", "latentseek-self"), ("latentseek-self", "latentseek-psrm")):
        step = paired(solved[low], solved[high])
        assert step.gained > step.lost
        assert step.p_value < 0.05


def test_readme_tells_what_the_runs_say():
    readme = (ROOT / "README.md").read_text()
    for name in SMALL:
        rows = load_runs(RUNS / name / "*")
        judged = {f"{method}-{judge}" for method in ("latentseek", "resample", "best_of_n") for judge in ("self", "psrm")}
        assert set(rows.run) == judged | {"cot", "self_consistency"}
        base = rows[rows.run == "cot"].set_index("problem_id").correct
        for _, group in rows.groupby("run"):
            group = group.set_index("problem_id")
            low, high = interval(group.correct)
            line = f"{group.correct.mean():.1%} [{low:.1%}, {high:.1%}]"
            against = paired(base.loc[group.index], group.correct)
            cells = f"| +{against.gained} / −{against.lost} |" if group.method.iloc[0] != "cot" else "| |"
            tokens = f"| {group.answer_tokens.mean():.0f} | {group.verifier_tokens.mean():.0f} |"
            assert f"| {line} {cells[:-1]}{tokens}" in readme, f"{name}: {line} {cells[:-1]}{tokens}"


def test_the_grid_that_chose_the_settings_never_saw_a_test_problem():
    grid, runs = load_runs(ROOT / "data" / "runs" / "tiny-gsm-tune" / "*" / "*"), load_runs(RUNS / "*" / "latentseek-self")
    assert set(grid.split) == {"tune"}
    assert not set(grid.problem_id) & set(runs.problem_id)
    reached = grid[grid.method == "latentseek"].groupby(["rho", "learning_rate"]).correct.mean()
    assert [reached.idxmax()] == list(runs[["rho", "learning_rate"]].drop_duplicates().itertuples(index=False, name=None))


@pytest.mark.parametrize("name", MODELS)
def test_readme_tells_what_the_card_says(name):
    figures = measured(name)
    boxed, judge = figures["accuracy"]["boxed"], figures["verifier"]["first answers"]["reward"]
    shares = [boxed["tiny-gsm"], figures["begun_with"]["Carefully"], boxed["tiny-math"], boxed["tiny-aime (wide)"]]
    cells = [f"{figures['parameters'] / 1e6:.2f} M", *(f"{share['accuracy']:.1%}" for share in shares)]
    row = f"| {' | '.join(cells)} | {judge['true_accept']:.1%} / {judge['true_reject']:.1%} |"
    assert f"(data/models/{name}/README.md) {row}" in (ROOT / "README.md").read_text()


def test_the_early_model_is_a_worse_judge():
    (early,) = [name for name in MODELS if name.endswith(EARLY)]
    for source, checked in measured(early)["verifier"].items():
        finished = measured(early.removesuffix(EARLY))["verifier"][source]
        worth = [table["reward"]["true_accept"] + table["reward"]["true_reject"] - 1 for table in (checked, finished)]
        assert worth[0] < worth[1] - 0.1


def test_mistakes_are_told_apart():
    story = draw_tasks("tiny-gsm", "tune", 1, 0)[0]
    answers = [r"First add. 3+4=8 pens. The answer is \boxed{8}.", "Briefly.", rf"The answer is \boxed{{{story.answer}}}."]
    told = mistakes([story] * 3, answers)
    assert told["wrong"] == 2
    assert told["right"] == 1
    assert told["calculation_check"] == 1
    assert told["answer_completeness"] == 1
    assert told["right by luck"] == 0


@pytest.mark.slow
def test_the_outcome_model_loads_like_any_classifier_and_knows_something():
    reward = OutcomeReward(NAME)
    assert NAME not in MODELS
    tasks = draw_tasks("tiny-gsm", "tune", 100, 5)
    answers = measure.answers_of(policy(SMALL[0]), tasks)
    scores = pd.Series([score.value for score in reward([as_problem(t) for t in tasks], answers)])
    right = pd.Series([measure.solved(*pair) for pair in zip(tasks, answers, strict=True)])
    assert scores.between(-1, 0).all()
    assert scores[right].mean() > scores[~right].mean()


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_oracle_uses_the_room_above_the_chain_of_thought(name):
    problems = load_benchmark("tiny-gsm", limit=N)
    gold = {problem.id: problem.answer for problem in problems}

    def solved_by(method, reward, token_pool=None):
        options = Options(batch_size=N, token_pool=token_pool)
        outcomes = [o for group in method(policy(name), problems, reward, CONFIG, options) for o in group]
        right = {
            o.problem_id: is_correct(o.answer_text, gold[o.problem_id], style="boxed", benchmark="tiny-gsm") for o in outcomes
        }
        return right, sum(o.answer_tokens for o in outcomes)

    first, _ = solved_by(cot, None)
    results = seek(policy(name), problems, PerfectSparseReward(), CONFIG, batch_size=N, progress=False)
    reached = {r.problem_id for r in results if r.steps[-1].reward == 0}
    assert {problem for problem, right in first.items() if right} <= reached
    assert len(reached) / N >= sum(first.values()) / N + 0.03
    pool = sum(step.decoded_tokens for r in results for step in r.steps)
    again, spent = solved_by(resample, PerfectSparseReward(), pool)
    assert sum(again.values()) / N >= sum(first.values()) / N + 0.03
    assert spent == pytest.approx(pool, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", FINISHED)
def test_the_verifier_is_above_the_line_below_which_self_reward_loses(name):
    stories = draw_tasks("tiny-gsm", "test", N, 0)
    answers = measure.answers_of(policy(name), stories)
    table = measure.verifier_confusion(policy(name), stories, answers)["reward"]
    assert table.true_accept >= 0.9
    assert table.true_reject >= 0.6
    assert set(checks.CHECKS) < set(measure.verifier_confusion(policy(name), stories[:4], answers[:4]))
