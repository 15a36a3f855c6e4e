"""What the embedded model is in the box for: the method has something to do on it, and its verdicts are worth something."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path

import pytest
import torch

from latentseek_core import (
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
from latentseek_core.tiny import measure, worked

MODEL = "tiny-qwen2-1.8m"
N = 400
CONFIG = SeekConfig(max_new_tokens=256)


@lru_cache
def policy() -> Policy:
    return Policy.from_pretrained(MODEL)


@lru_cache
def problems():
    return load_benchmark("tiny-gsm", limit=N)


def solved_by(method, reward, token_pool=None) -> dict[str, tuple[bool, int]]:
    """Whether each problem was solved, and the answer tokens it took."""
    gold = {problem.id: problem.answer for problem in problems()}
    outcomes = [
        o for group in method(policy(), problems(), reward, CONFIG, Options(batch_size=200, token_pool=token_pool)) for o in group
    ]
    right = {o.problem_id: is_correct(o.answer_text, gold[o.problem_id], style="boxed", benchmark="tiny-gsm") for o in outcomes}
    return {o.problem_id: (right[o.problem_id], o.answer_tokens) for o in outcomes}


def test_the_model_is_small_and_says_what_it_is():
    assert MODEL in embedded_models()
    folder = MODELS_FOLDER / MODEL
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "README.md", "prompts", "measured.json"} <= names
    assert (folder / "model.safetensors").stat().st_size < 8 * 2**20
    card, measured = (folder / "README.md").read_text(), json.loads((folder / "measured.json").read_text())
    assert f"latentseek tiny train {MODEL}" in card
    assert f"{measured['chain_of_thought']['accuracy']:.1%}" in card


def test_it_answers_in_both_formats_and_its_verdicts_can_be_read():
    torch.manual_seed(0)
    stories = worked.draw_stories("tune", 24, 3)
    for style in ("boxed", "json"):
        answers = measure.answers_of(policy(), stories, style=style)
        assert measure.accuracy(stories, answers, style) > 0.2
    scores = SelfReward(policy())([measure.as_problem(s) for s in stories], measure.answers_of(policy(), stories))
    assert sum(verdict is None for score in scores for verdict in score.checks.values()) <= 4


def test_no_text_has_a_token_that_the_model_lacks():
    assert len(policy().tokenizer) <= policy().text_config.vocab_size
    assert max(policy().encode("<|endoftext|> é ∑ </s>")) < policy().text_config.vocab_size


def test_four_verdicts_share_one_reading():
    stories = worked.draw_stories("tune", 8, 4)
    problems, answers = [measure.as_problem(s) for s in stories], measure.answers_of(policy(), stories)
    reward = SelfReward(policy())
    policy().forwarded_tokens = 0
    scores = reward(problems, answers)
    floor = 0
    for problem, answer, score in zip(problems, answers, scores, strict=True):
        prompts = [policy().encode(m) for m in render_checks(problem, answer, reward.prompt).values()]
        shared = shared_length(prompts)
        assert shared > 0.9 * len(prompts[0])
        floor += shared + sum(len(ids) - shared for ids in prompts) + score.tokens
    assert policy().forwarded_tokens <= floor


def test_the_card_tells_how_the_search_fools_the_judge():
    rows = load_runs(Path(__file__).resolve().parents[1] / "data" / "runs" / "tiny-gsm" / "latentseek-self")
    later = set()
    for _, row in rows.iterrows():
        first = row.steps[0]["answer_text"]
        answers = {step["answer_text"]: step["reward"] > -0.2 for step in row.steps if step["answer_text"] != first}
        later |= {(row.gold, answer, accepted) for answer, accepted in answers.items()}
    truth = [(is_correct(a, gold, style="boxed", benchmark="tiny-gsm"), accepted) for gold, a, accepted in later]
    right, wrong = [accepted for fits, accepted in truth if fits], [accepted for fits, accepted in truth if not fits]
    card = (MODELS_FOLDER / MODEL / "README.md").read_text().replace("\n", " ").replace("  ", " ")
    assert (
        f"{sum(right)} of {len(right)} right ones and refused {len(wrong) - sum(wrong)} of {len(wrong)} wrong ones"
        in card.replace("  ", " ")
    )


@pytest.mark.slow
def test_the_chain_of_thought_leaves_room_and_the_oracle_uses_it():
    first = solved_by(cot, None)
    base = sum(right for right, _ in first.values()) / N
    assert 0.30 <= base <= 0.65
    results = seek(policy(), problems(), PerfectSparseReward(), CONFIG, batch_size=200, progress=False)
    reached = {r.problem_id for r in results if r.steps[-1].reward == 0}
    assert {name for name, (right, _) in first.items() if right} <= reached
    assert len(reached) / N >= base + 0.03
    pool = sum(step.decoded_tokens for r in results for step in r.steps)
    again = solved_by(resample, PerfectSparseReward(), pool)
    assert sum(right for right, _ in again.values()) / N >= base + 0.03
    assert sum(tokens for _, tokens in again.values()) == pytest.approx(pool, rel=0.02)


@pytest.mark.slow
def test_the_verifier_is_above_the_line_below_which_self_reward_loses():
    stories = worked.draw_stories("test", 200, 0)
    table = measure.verifier_confusion(policy(), stories, measure.answers_of(policy(), stories))["reward"]
    assert table.true_accept >= 0.9
    assert table.true_reject >= 0.6


def test_readme_and_card_tell_what_the_runs_say():
    root = Path(__file__).resolve().parents[1]
    rows, readme = load_runs(root / "data" / "runs" / "tiny-gsm" / "*"), (root / "README.md").read_text()
    base = rows[rows.run == "cot"].set_index("problem_id").correct
    judged = {f"{method}-{judge}" for method in ("latentseek", "resample", "best_of_n") for judge in ("self", "psrm")}
    assert set(rows.run) == judged | {"cot", "self_consistency"}
    for _, group in rows.groupby("run"):
        group = group.set_index("problem_id")
        low, high = interval(group.correct)
        assert len(group) == 1000
        line = f"{group.correct.mean():.1%} [{low:.1%}, {high:.1%}]"
        assert line in readme
        against = paired(base.loc[group.index], group.correct)
        assert group.method.iloc[0] == "cot" or f"+{against.gained} / −{against.lost}" in readme
        tokens = f"| {group.answer_tokens.mean():.0f} | {group.verifier_tokens.mean():.0f} |"
        assert tokens in next(text for text in readme.splitlines() if line in text)
    measured = json.loads((MODELS_FOLDER / MODEL / "measured.json").read_text())
    assert measured["chain_of_thought"]["accuracy"] == pytest.approx(base.mean(), abs=0.005)
    oracle = rows[rows.run == "latentseek-psrm"].set_index("problem_id").correct
    assert (oracle.loc[base.index] >= base).all()
    digest = hashlib.sha256((MODELS_FOLDER / MODEL / "model.safetensors").read_bytes()).hexdigest()
    assert measured["weights_sha256"] == digest
