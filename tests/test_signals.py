"""Rewards that ask nobody, against the formulas and the model asked by hand; the oracle that errs; any of them by each method."""

import math

import pytest
import torch
from conftest import make_policy, random_problems

from latentseek_core import Problem, Score, SeekConfig, render_prompt
from latentseek_core import configs as configs_module
from latentseek_core.attempts import Options
from latentseek_core.configs import REWARDS, RunConfig, make_config
from latentseek_core.methods import METHODS
from latentseek_core.policy import Completion
from latentseek_core.prompts import fill, load_prompt
from latentseek_core.signals import Confidence, LogProbability, Majority, NoisyOracle, Reconstruction, confidence

PROBLEM = Problem("1", "How many words?", "18", "tiny-gsm")
ANSWER = "a few words of nothing"


def by_hand(policy, prompt, tokens):
    """log π(· | c, x_<t) at each token, from one forward of the whole model."""
    logits = policy.model(torch.tensor([prompt + tokens])).logits[0].double()
    return logits.log_softmax(-1)[len(prompt) - 1 : -1]


def ids(policy, text):
    return policy.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_confidence_is_ltpos_formula():
    chances = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.25, 0.25, 0.25, 0.25]]).log()
    first, second = -(math.log(0.5) + math.log(0.25)) / 2, -math.log(0.25)
    assert confidence(chances, top=2).item() == pytest.approx((first + second) / 2)
    flat, peaked = torch.zeros(1, 20).log_softmax(-1), torch.eye(1, 20).mul(9.0).log_softmax(-1)
    assert confidence(flat).item() == pytest.approx(math.log(20))
    assert confidence(peaked) > confidence(flat)


@pytest.mark.parametrize("architecture", ["qwen2", "gemma2"])
def test_probabilities_are_those_of_the_whole_model(architecture):
    policy = make_policy(architecture)
    prompt, tokens = policy.encode(render_prompt(PROBLEM)), ids(policy, ANSWER)
    chances = by_hand(policy, prompt, tokens)
    (score,) = LogProbability(policy)([PROBLEM], [ANSWER])
    assert score.value == pytest.approx(chances[range(len(tokens)), tokens].mean().item(), rel=1e-4)
    (score,) = Confidence(policy)([PROBLEM], [ANSWER])
    assert score.value == pytest.approx(-chances.topk(10).values.mean(-1).mean().item(), rel=1e-4)
    ask = fill(load_prompt("reconstruction")["ask"], {"answer": ANSWER})
    tokens = ids(policy, PROBLEM.question)
    chances = by_hand(policy, policy.encode([{"role": "user", "content": ask}]), tokens)
    (score,) = Reconstruction(policy)([PROBLEM], [ANSWER])
    assert score.value == pytest.approx(chances[range(len(tokens)), tokens].mean().item(), rel=1e-4)


@pytest.mark.parametrize("kind", [Confidence, LogProbability, Reconstruction])
def test_they_are_read_once_and_alike_in_any_company(kind):
    policy, problems, answers = make_policy(), random_problems(4), ["a", "words " * 20, "", "few 12"]
    reward = kind(policy)
    together = [score.value for score in reward(problems, answers)]
    policy.forwarded_tokens = 0
    assert [score.value for score in reward(problems, answers)] == together
    assert policy.forwarded_tokens == 0
    alone = [kind(policy)([p], [a])[0].value for p, a in zip(problems, answers, strict=True)]
    assert together == pytest.approx(alone, rel=1e-4)
    assert policy.forwarded_tokens > 0
    policy = make_policy("llama")  # an answer longer than the context
    (score,) = kind(policy)([PROBLEM], ["nothing " * 3000])
    assert math.isfinite(score.value)
    assert kind is not Reconstruction or score.value == -math.log(300)


def test_majority_agrees_with_most_samples(monkeypatch):
    policy, spoken = make_policy(), {}
    texts = iter([r"\boxed{7}", r"\boxed{8.0}", "so \\boxed{8}", "no idea", "none", "at all"])
    generate = policy.generate

    def speak(prompts, *, max_new_tokens, **how):
        if not max_new_tokens:
            return generate(prompts, max_new_tokens=0, **how)
        spoken.update({i: next(texts) for i in range(100, 100 + len(prompts))})
        return [Completion([i], None, True, 5) for i in range(100, 100 + len(prompts))]

    monkeypatch.setattr(policy, "generate", speak)
    monkeypatch.setattr(policy, "decode_text", lambda ids, **_: spoken[ids[0]])
    reward, (one, two) = Majority(policy), random_problems(2)
    scores = reward([one, one, two, two], [r"\boxed{8}", r"\boxed{7}", r"\boxed{1}", "no idea"])
    assert [score.value for score in scores] == [0.0, -1.0, -1.0, -1.0], "a majority that states nothing agrees with nobody"
    assert [score.tokens for score in scores] == [15, 0, 15, 0]
    assert reward([one], [r"\boxed{8}"]) == [Score(0.0, {"majority": True}, 0)]


def test_the_noisy_oracle_errs_at_its_rates_and_keeps_its_word():
    problems, right = random_problems(3000), [rf"\boxed{{{i}}}" for i in range(3000)]
    wrong = [rf"\boxed{{{i + 1}}}" for i in range(3000)]
    oracle = NoisyOracle(0.9, 0.2)
    for answers, rate in ((right, 0.9), (wrong, 0.2)):
        values = [score.value for score in oracle(problems, answers)]
        assert set(values) == {0.0, -1.0}
        assert values.count(0.0) / 3000 == pytest.approx(rate, abs=4 * math.sqrt(rate * (1 - rate) / 3000))
        assert values[::-1] == [score.value for score in oracle(problems[::-1], answers[::-1])]
        assert values != [score.value for score in NoisyOracle(0.9, 0.2, seed=1)(problems, answers)]
    assert all(score.value == 0.0 for score in NoisyOracle(1.0, 0.0)(problems[:50], right[:50]))
    assert all(score.value == -1.0 for score in NoisyOracle(1.0, 0.0)(problems[:50], wrong[:50]))


@pytest.mark.parametrize("method", ["best_of_n", "resample", "latentseek"])
@pytest.mark.parametrize("name", ["confidence", "log_probability", "majority", "reconstruction", "noisy_oracle"])
def test_each_is_known_by_name_and_serves_each_method(method, name):
    policy, problems = make_policy(), random_problems(3)
    config = make_config(model="m", benchmark="b", out="o", method=method, reward=name, max_new_tokens=12, n_samples=2)
    reward = configs_module.make_reward(policy, config)
    assert name in REWARDS
    options = Options(n_samples=2, batch_size=2)
    how = SeekConfig(max_new_tokens=12, max_iterations=2, reward_threshold=50.0, rho=0.5)
    outcomes = [o for group in METHODS[method](policy, problems, reward, how, options) for o in group]
    assert {o.problem_id for o in outcomes} == {"0", "1", "2"}
    assert all(math.isfinite(step["reward"]) for o in outcomes for step in o.steps)
    assert RunConfig.model_fields["true_accept"].default == 0.9
