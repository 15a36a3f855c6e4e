"""The report on the embedded models, on cases made by hand."""

import math

import pandas as pd
import pytest

from latentseek_core.stats import interval
from latentseek_core.tiny import checks, report
from latentseek_core.tiny.benchmark import draw_tasks
from latentseek_core.tiny.recipes import RECIPES
from latentseek_core.tiny.tasks import Ref, Step, Task, Way

STORY = Task(
    "tiny-gsm",
    "Ben has 3 bags with 4 pens in each. Then Ben loses 5 pens. How many pens does Ben have now?",
    (Way((Step(3, "*", 4, "contain", "Ben", "pens"), Step(Ref(0), "-", 5, "lose", "Ben", "pens")), (Ref(1),)),),
)
RIGHT = r"First multiply, then subtract. 3*4=12 pens. 12-5=7 pens. The answer is \boxed{7}."
SLIP = r"First multiply, then subtract. 3*4=13 pens. 13-5=8 pens. The answer is \boxed{8}."
MISREAD = r"First multiply, then add. 3*4=12 pens. 12+5=17 pens. The answer is \boxed{17}."
WRONG_BOX = r"First multiply, then subtract. 3*4=12 pens. 12-5=7 pens. The answer is \boxed{9}."
BROKEN = "Briefly multiply, then subtract. 3*4=12 pens. 12-5=7 pens."


def rows_of(texts: list[str], model: str = "m") -> pd.DataFrame:
    return pd.DataFrame({"model": model, "answer_text": texts, "correct": [text == RIGHT for text in texts]})


def step(iteration: int, text: str, reward: float = 0.0, **failed: bool | None) -> dict:
    verdicts = dict.fromkeys(checks.CHECKS, True) | failed
    return {"iteration": iteration, "answer_text": text, "reward": reward, "correct": text == RIGHT, "checks": verdicts}


def judged(*steps: dict) -> pd.DataFrame:
    rows = pd.DataFrame([{"model": "m", "problem_id": "test-0", "steps": list(steps)}])
    return report.judged_answers([STORY], rows)


def test_a_share_has_its_number_and_interval():
    found = report.share(3, 4)
    assert (found["n"], found["share"]) == (4, 0.75)
    assert (found["low"], found["high"]) == interval([True, True, True, False])
    assert report.written(found) == f"75.0% [{found['low']:.1%}, {found['high']:.1%}] of 4"
    assert math.isnan(report.share(0, 0)["share"])
    assert report.written(report.share(0, 0)) == "none seen"


def test_mistakes_are_told_apart_and_shared_out_among_the_wrong_answers():
    texts = [RIGHT, SLIP, MISREAD, WRONG_BOX, BROKEN]
    table = report.mistake_table([STORY] * 5, rows_of(texts))
    failed = [[kind for kind in (*report.MISTAKES, report.NO_MISTAKE) if row[kind]] for _, row in table.iterrows()]
    assert failed == [["none of these"], ["calculation"], ["understanding"], ["none of these"], ["completeness"]]
    assert set(table.steps) == {2}
    assert not table.distractors.any()
    shares = report.mistake_shares(table, "steps").set_index("kind")
    assert set(shares.answers) == {5}
    assert set(shares.n) == {4}
    assert shares.share.to_dict() == dict.fromkeys((*report.MISTAKES, report.NO_MISTAKE), 0.25)


def test_groups_of_mistakes_are_kept_apart():
    both = pd.concat([rows_of([SLIP, SLIP], "a"), rows_of([RIGHT, MISREAD], "b")], ignore_index=True)
    shares = report.mistake_shares(report.mistake_table([STORY] * 4, both), ["model", "distractors"])
    found = shares.set_index(["model", "kind"])
    assert found.n["a", "calculation"] == 2
    assert found.share["a", "calculation"] == 1
    assert found.n["b", "calculation"] == 1
    assert found.share["b", "understanding"] == 1


def test_a_group_without_wrong_answers_has_no_shares():
    shares = report.mistake_shares(report.mistake_table([STORY], rows_of([RIGHT])), "model")
    assert set(shares.n) == {0}
    assert shares.share.isna().all()


def test_each_different_answer_of_a_search_is_judged_once():
    found = judged(
        step(0, SLIP, -0.5, calculation_check=False, answer_correct=False),
        step(1, SLIP, -0.5, calculation_check=False, answer_correct=False),
        step(2, MISREAD, -1 / 3, understanding_check=None, answer_correct=False),
        step(3, SLIP, -0.5, calculation_check=False, answer_correct=False),
        step(4, RIGHT, 0.0),
    ).sort_values("value")
    assert found.value.tolist() == [-0.5, -1 / 3, 0.0]
    assert found.source.tolist() == ["first", "later", "later"]
    assert found["reward"].tolist() == [False, False, True]
    assert found["reward, truth"].tolist() == [False, False, True]
    assert found["calculation_check, truth"].tolist() == [False, True, True]
    assert found["understanding_check"].tolist() == [True, False, True]  # what can't be read is no approval


def test_rates_count_acceptance_among_the_right_and_refusal_among_the_wrong():
    table = judged(
        step(0, RIGHT, -0.5, calculation_check=False, answer_correct=False),
        step(1, SLIP, 0.0),
        step(2, MISREAD, -1 / 3, understanding_check=False, answer_correct=False),
    )
    rates = report.verdict_rates(table).set_index(["check", "rate"])
    assert rates.share["reward", "accepted when right"] == 0
    assert rates.share["reward", "refused when wrong"] == 0.5
    assert rates.n["reward", "refused when wrong"] == 2
    assert rates.share["calculation_check", "accepted when right"] == 0.5  # the misreading calculates rightly
    assert rates.share["calculation_check", "refused when wrong"] == 0
    assert math.isnan(rates.share["answer_completeness", "refused when wrong"])
    assert report.judge_worth(rates.reset_index()) == -0.5
    assert report.judge_worth(rates.reset_index(), "calculation_check") == -0.5


def test_measured_counts_give_the_same_table():
    counts = {"n_right": 4, "true_accept": 0.75, "n_wrong": 0, "true_reject": None}
    rates = report.measured_rates({"reward": counts})
    assert rates.rate.tolist() == list(report.RATES)
    assert rates.iloc[0].to_dict() == {"check": "reward", "rate": "accepted when right", **report.share(3, 4)}
    assert math.isnan(report.judge_worth(rates))


def test_reliability_has_a_row_for_each_value_of_the_reward():
    table = judged(step(0, SLIP, -1 / 6), step(1, RIGHT, -1 / 6), step(2, MISREAD, -1 / 6 + 1e-12), step(3, BROKEN, -1.0))
    rows = report.reliability(table).set_index(["source", "value"])
    assert rows.n.to_dict() == {("first", round(-1 / 6, 6)): 1, ("later", -1.0): 1, ("later", round(-1 / 6, 6)): 2}
    assert rows.share["later", round(-1 / 6, 6)] == 0.5


def test_stages_are_those_of_the_log():
    recipe = RECIPES["tiny-qwen2-1.8m"]
    names = [stage.name for stage in recipe.stages[:2]]
    log = pd.DataFrame(
        {
            "stage": [names[0], names[0], names[1]],
            "tokens": [1, 2, 3],
            "seconds": [60, 120, 300],
            "loss": [2.0, 1.0, 0.5],
        }
    )
    table = report.stage_table(recipe, log)
    assert table.stage.tolist() == names
    assert table.minutes.tolist() == [2, 3]
    assert table["last loss"].tolist() == [1.0, 0.5]
    assert table[list(report.KINDS)].sum(axis=1).tolist() == pytest.approx([1, 1])


def test_accuracies_are_named_by_how_was_asked():
    rate = {"n": 4, "accuracy": 0.5, "low": 0.1, "high": 0.9}
    measured = {
        "accuracy": {"boxed": {"tiny-gsm": rate, "tiny-math": rate}, "json": {"tiny-gsm": rate}},
        "few_shot": rate,
        "begun_with": {"First": rate},
    }
    table = report.accuracy_table(measured)
    assert len(table) == 5
    assert list(zip(table.benchmark, table.asked, strict=True))[1] == ("tiny-math", "prompt boxed")
    assert table.share.tolist() == [0.5] * 5


def test_tasks_are_found_by_id_and_runs_of_other_problems_refused():
    tasks = draw_tasks("tiny-gsm", "test", 3, 0)
    rows = pd.DataFrame({"problem_id": ["test-2", "test-0"], "benchmark": "tiny-gsm", "split": "test"})
    rows["gold"] = [tasks[2].answer, tasks[0].answer]
    assert report.tasks_behind(rows) == [tasks[2], tasks[0]]
    rows.loc[1, "gold"] = "no number"
    with pytest.raises(ValueError, match=r"test-0 has the answer no number, .* the run is of other problems"):
        report.tasks_behind(rows)
