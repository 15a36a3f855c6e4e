"""Rewards and the verdicts behind them."""

import copy
import math

import pytest
import torch
from conftest import make_policy, random_problems, tokenizer
from transformers import LlamaConfig, LlamaForSequenceClassification

from latentseek_core import FormatReward, OutcomeReward, PerfectSparseReward, Problem, Score, SelfReward
from latentseek_core.policy import Completion
from latentseek_core.prompts import load_prompt, render_checks
from latentseek_core.rewards import read_verdict

MARKER = "FINAL VERIFICATION ANSWER IS:"
PROBLEM = Problem("1", "How many?", "18", "gsm8k")
ORDER = ("answer_correct", "understanding_check", "calculation_check", "answer_completeness")


@pytest.mark.parametrize(("reply", "verdict"), [
    (f"Fine. {MARKER}True", True),
    (f"{MARKER} **False**", False),
    (f"{MARKER} \\boxed{{True}}", None),
    (f"{MARKER} False, though it construed the question rightly: true", False),
    (f"First {MARKER} True. No, wait. {MARKER.lower()} false", False),
    ("True", None),
    (f"{MARKER}", None),
    (f"{MARKER} yes", None),
    (f"{MARKER} Truetype", None),
    ("", None),
])  # fmt: skip
def test_a_verdict_is_the_word_behind_the_last_marker(reply, verdict):
    assert read_verdict(reply, MARKER) is verdict


def fake_replies(policy, monkeypatch, words):
    """Lets the policy reply to the four checks with these verdict words."""
    calls = []

    def generate(prompts, max_new_tokens, **_):
        if max_new_tokens == 0:  # only the shared opening is read
            return [Completion([], None, False, 0)] * len(prompts)
        calls.append(prompts)
        texts = [f"{MARKER} {word}" if word else "hm" for word in words] * (len(prompts) // 4)
        return [Completion(policy.encode(text), None, True, 5) for text in texts]

    monkeypatch.setattr(policy, "generate", generate)
    return calls


@pytest.mark.parametrize(("words", "value"), [
    (["True"] * 4, 0.0),
    (["False"] * 4, -1.0),
    (["False", "True", "True", "True"], -1 / 6),
    (["True", "True", "False", "True"], -2 / 6),
    (["False", "False", "True", "False"], -4 / 6),
    (["True", "True", "True", None], -2 / 6),
])  # fmt: skip
def test_self_reward_weighs_failed_checks(words, value, monkeypatch):
    policy = make_policy()
    calls = fake_replies(policy, monkeypatch, words)
    reward = SelfReward(policy)
    (score,) = reward([PROBLEM], ["18"])
    assert score.value == pytest.approx(value)
    assert list(score.checks.values()) == [None if word is None else word == "True" for word in words]
    assert tuple(score.checks) == ORDER
    assert score.tokens == 20
    assert reward([PROBLEM], ["18"]) == [Score(score.value, score.checks, 0)]
    assert len(calls) == 1


def test_unreadable_verdicts_count_as_told_and_weights_can_be_named(monkeypatch):
    policy = make_policy()
    fake_replies(policy, monkeypatch, ["True", None, "False", "True"])
    assert SelfReward(policy, unreadable_passes=True)([PROBLEM], ["1"])[0].value == pytest.approx(-2 / 6)
    assert SelfReward(policy, weights={"calculation_check": 1})([PROBLEM], ["1"])[0].value == pytest.approx(-2 / 5)
    with pytest.raises(ValueError, match="unknown check 'spelling'"):
        SelfReward(policy, weights={"spelling": 1})


def test_the_same_answer_twice_in_a_call_is_judged_once(monkeypatch):
    policy = make_policy()
    calls = fake_replies(policy, monkeypatch, ["True"] * 4)
    scores = SelfReward(policy)([PROBLEM, PROBLEM], ["18", "18"])
    assert len(calls[0]) == 4
    assert [score.tokens for score in scores] == [20, 0]


def test_an_answer_too_long_to_be_judged_is_unreadable():
    policy = make_policy("llama")
    (score,) = SelfReward(policy)([PROBLEM], ["nothing " * 3000])
    assert score == Score(-1.0, dict.fromkeys(ORDER), 0)


def test_the_four_checks_open_alike():
    prompts = [m[0]["content"] for m in render_checks(PROBLEM, "It is {question} 18.", load_prompt("verifiers")).values()]
    common = next(i for i, letters in enumerate(zip(*prompts, strict=False)) if len(set(letters)) > 1)
    assert prompts[0][:common].endswith("CHECK:\n")
    assert "It is {question} 18." in prompts[0][:common]
    assert len(set(prompts)) == 4


def test_psrm_and_format_reward_and_their_sum():
    answers = [r"\boxed{18}", r"\boxed{17}", "18"]
    problems = [PROBLEM] * 3
    assert [s.value for s in PerfectSparseReward()(problems, answers)] == [0.0, -1.0, -1.0]
    assert [s.value for s in FormatReward()(problems, answers)] == pytest.approx([0, 0, -1 / 3])
    total = (PerfectSparseReward() + FormatReward())(problems, answers)
    assert [s.value for s in total] == pytest.approx([0, -1, -4 / 3])
    assert [s.checks for s in total] == [{"format": True}, {"format": True}, {"format": False}]
    assert [s.value for s in PerfectSparseReward("json")(problems[:1], ['{"final answer": "18"}'])] == [0.0]


def outcome_model(folder, chat_template=True, labels=1):
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        vocab_size=300,
        num_labels=labels,
        pad_token_id=0,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    words = copy.deepcopy(tokenizer())
    words.chat_template = words.chat_template if chat_template else None
    words.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("chat_template", [True, False])
def test_an_outcome_model_scores_each_answer_by_itself(chat_template, tmp_path):
    """The same whatever is in the batch, and what the model says when asked by hand."""
    reward = OutcomeReward(outcome_model(tmp_path, chat_template), batch_size=3)
    problems, answers = random_problems(5), ["a", "b " * 30, "", "four", "five words are in here"]
    together = [score.value for score in reward(problems, answers)]
    alone = [reward([p], [a])[0].value for p, a in zip(problems, answers, strict=True)]
    assert together == pytest.approx(alone, abs=1e-6)
    assert len(set(together)) == 5
    for problem, answer, value in zip(problems, answers, together, strict=True):
        if chat_template:
            talk = [{"role": "user", "content": problem.question}, {"role": "assistant", "content": answer}]
            text = tokenizer().apply_chat_template(talk, tokenize=False)
        else:
            text = f"{problem.question}\n\n{answer}"
        ids = reward.tokenizer(text, add_special_tokens=not chat_template, return_tensors="pt")["input_ids"]
        logit = LlamaForSequenceClassification.from_pretrained(tmp_path).eval()(input_ids=ids).logits.item()
        assert value == pytest.approx(1 / (1 + math.exp(-logit)) - 1, abs=1e-5)
        assert -1 < value < 0


def test_what_is_no_outcome_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has 3 outputs; an outcome reward model has one"):
        OutcomeReward(outcome_model(tmp_path, labels=3))
    with pytest.raises(ValueError, match="outcome reward model '.*nowhere' can't be loaded"):
        OutcomeReward(tmp_path / "nowhere")
