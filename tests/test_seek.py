"""The search against a plain loop, against itself in batches, and against the formula."""

import copy

import pytest
import torch
from conftest import ALL, CONFIGS, QUICK, LengthReward, make_policy, mostly_slow, random_problems, random_prompts
from plain import PlainSearch

from latentseek_core import Problem, SeekConfig, seek, seek_steps
from latentseek_core.settings import CleanRules

PROBLEM = Problem("1", "question", "1", "tiny-gsm")


def constant(value):
    return lambda problems, answers: [value] * len(answers)


@pytest.mark.parametrize("architecture", ALL)
@pytest.mark.parametrize("optimizer", ["adam", "ascent"])
@pytest.mark.parametrize("rho", mostly_slow([0.3, 1.0], 0.3))
def test_equals_the_plain_loop(architecture, optimizer, rho):
    policy = make_policy(architecture)
    config = SeekConfig(rho=rho, learning_rate=0.2, max_iterations=4, max_new_tokens=24, optimizer=optimizer)
    plain = PlainSearch(
        copy.deepcopy(policy.model).double(), policy.stop_ids, lambda ids: LengthReward()([], [policy.decode_text(ids)])[0]
    )
    changes = 0
    for prompt in random_prompts(3):
        expected = plain(prompt, rho, 0.2, 4, -0.2, 24, adam=optimizer == "adam")
        steps = list(seek_steps(policy, PROBLEM, LengthReward(), config, prompt_ids=prompt))
        assert [(s.prefix_ids, s.answer_ids) for s in steps] == [(s.prefix_ids, s.answer_ids) for s in expected]
        for step, other in zip(steps[1:], expected[1:], strict=True):
            assert step.loss == pytest.approx(other.loss, rel=1e-3, abs=1e-6)
            assert step.latent_norm == pytest.approx(other.latent_norm, rel=1e-3)
        changes += sum(len(step.changed) for step in steps)
    assert changes > 0


@pytest.mark.parametrize("architecture", mostly_slow(["qwen2", "gpt2", "gemma2"], "qwen2"))
@pytest.mark.parametrize(
    "config",
    [SeekConfig(max_new_tokens=40), pytest.param(SeekConfig.reference(max_new_tokens=20), marks=pytest.mark.slow)],
    ids=["clean", "reference"],
)
def test_a_batch_gives_what_single_calls_give(architecture, config, monkeypatch):
    monkeypatch.setattr(type(config.rules), "chain_of_thought_limit", 60, raising=False)
    # Another seed has a tie to five digits between two tokens, which no two orders of summation settle alike.
    policy, prompts, problems = make_policy(architecture), random_prompts(8, seed=1), random_problems(8)
    together = seek(policy, problems, LengthReward(), config, prompt_ids=prompts, progress=False)
    assert sum(len(step.changed) for result in together for step in result.steps) > 0
    for problem, prompt, result in zip(problems, prompts, together, strict=True):
        (alone,) = seek(policy, [problem], LengthReward(), config, prompt_ids=[prompt], progress=False)
        assert [s.answer_ids for s in alone.steps] == [s.answer_ids for s in result.steps]
        assert [s.reward for s in alone.steps] == [s.reward for s in result.steps]
        assert (alone.stopped, alone.problem_id) == (result.stopped, result.problem_id)


def test_the_model_is_the_same_before_and_after(policy):
    before, unrelated = copy.deepcopy(policy.model.state_dict()), torch.tensor([[7, 8, 9]])
    logits = policy.model(unrelated).logits
    seek(policy, random_problems(4), LengthReward(), SeekConfig(max_new_tokens=20), prompt_ids=random_prompts(4), progress=False)
    assert all(torch.equal(before[name], weight) for name, weight in policy.model.state_dict().items())
    assert torch.equal(logits, policy.model(unrelated).logits)
    assert all(p.grad is None for p in policy.model.parameters())


@pytest.mark.parametrize("architecture", mostly_slow(CONFIGS, *QUICK))
def test_the_gradient_is_equation_seven(architecture):
    """One plain step z' − z = η R ∇ Σ log π(x_t | z_t), the right side by finite differences in float64."""
    policy, prompt = make_policy(architecture), random_prompts(1)[0]
    config = SeekConfig(rho=0.3, learning_rate=0.5, max_iterations=1, max_new_tokens=20, optimizer="ascent")
    first, second = seek_steps(policy, PROBLEM, constant(-0.7), config, prompt_ids=prompt)
    exact = PlainSearch(copy.deepcopy(policy.model).double(), (), None)
    z, x = first.latents.double(), first.prefix_ids

    def objective(latents):
        return -0.7 * torch.log_softmax(exact.logits(latents), -1)[range(len(x)), x].sum()

    gradient, h = torch.zeros_like(z), 1e-5
    for t in range(z.shape[0]):
        for i in range(z.shape[1]):
            step = torch.zeros_like(z)
            step[t, i] = h
            gradient[t, i] = (objective(z + step) - objective(z - step)) / (2 * h)
    assert gradient.abs().max() > 1e-3
    torch.testing.assert_close(second.latents.double() - z, 0.5 * gradient, atol=2e-6, rtol=1e-3)


def test_nearly_certain_tokens_keep_an_exact_gradient(policy):
    """Where 1 − p is 1e-12, float32's log-softmax has no gradient left but rounding noise."""
    z = policy.head_module.weight[[20, 30]].clone() * 2
    z[0] *= 27.6 / _gap(policy, z)[0]
    z[1] *= 5.0 / _gap(policy, z)[1]
    tokens = policy.head(z).argmax(-1).tolist()
    ours = z.clone().requires_grad_()
    CleanRules().log_probability(policy, ours, tokens).backward()
    exact = z.double().requires_grad_()
    weight = policy.head_module.weight.double()
    torch.log_softmax(exact @ weight.T, -1)[range(2), tokens].sum().backward()
    assert exact.grad[0].norm() < 1e-9
    torch.testing.assert_close(ours.grad.double(), exact.grad, rtol=2e-3, atol=exact.grad[0].abs().max().item() * 2e-3)


def _gap(policy, z):
    top = policy.head(z).topk(2).values
    return top[:, 0] - top[:, 1]


def test_an_opening_seen_before_costs_nothing(policy):
    """With a reward of zero nothing moves, so nothing is decoded after the chain of thought; the reward is still asked."""
    asked = []

    def reward(problems, answers):
        asked.extend(answers)
        return [0.0] * len(answers)

    config = SeekConfig(reward_threshold=0.5, max_iterations=5, max_new_tokens=20)
    (result,) = seek(policy, [PROBLEM], reward, config, prompt_ids=random_prompts(1), progress=False)
    assert [step.decoded_tokens for step in result.steps] == [len(result.answer_ids), 0, 0, 0, 0, 0]
    assert len(asked) == 6
    assert result.n_iterations == 5


def test_a_stop_token_ends_the_answer_wherever_it_stands():
    policy = make_policy("llama")
    config = SeekConfig(rho=1.0, learning_rate=2.0, max_iterations=8, max_new_tokens=12)
    results = seek(policy, random_problems(24), LengthReward(), config, prompt_ids=random_prompts(24), progress=False)
    answers = [step.answer_ids for result in results for step in result.steps]
    assert all(token not in policy.stop_ids for ids in answers for token in ids[:-1])
    assert all(len(ids) <= 12 for ids in answers)


@pytest.mark.parametrize(("rewards", "stopped", "n_iterations"), [
    ([0.0], "threshold", 0),
    ([-1, -1, -0.1], "threshold", 2),
    ([-0.2, -0.2, -0.2, -0.2], "max_iterations", 3),
    ([-1, -1, -1, 0], "max_iterations", 3),
])  # fmt: skip
def test_why_it_stops(policy, rewards, stopped, n_iterations):
    left = iter(rewards)
    config = SeekConfig(max_iterations=3, max_new_tokens=20, rho=0.5)
    (result,) = seek(policy, [PROBLEM], lambda p, a: [next(left)], config, prompt_ids=random_prompts(1), progress=False)
    assert (result.stopped, result.n_iterations) == (stopped, n_iterations)
    assert result.answer_ids == result.steps[-1].answer_ids


def test_no_latents(policy):
    config = SeekConfig(rho=0.1, max_new_tokens=5)
    (result,) = seek(policy, [PROBLEM], constant(-1), config, prompt_ids=random_prompts(1), progress=False)
    assert (result.stopped, result.n_iterations, result.latent_length) == ("no_latents", 0, 0)


@pytest.mark.parametrize(("field", "value"), [
    ("rho", 0.0), ("rho", 1.01), ("rho", float("nan")), ("max_iterations", 0), ("learning_rate", 0.0), ("max_new_tokens", 0), ("max_latents", 0),
    ("optimizer", "sgd"), ("grad_clip", -1.0),
])  # fmt: skip
def test_bad_settings_are_named(field, value):
    with pytest.raises(ValueError, match=rf"SeekConfig.{field} is .*; it must be "):
        SeekConfig(**{field: value})


@pytest.mark.parametrize("architecture", mostly_slow(CONFIGS, *QUICK))
def test_nothing_is_read_twice(architecture):
    """The backbone sees the prompt once a problem, and each new answer from its first changed token on; counted from the steps."""
    policy, prompts, problems = make_policy(architecture), random_prompts(8, seed=2), random_problems(8)
    policy.forwarded_tokens = 0
    config = SeekConfig(rho=0.5, learning_rate=0.2, max_new_tokens=30)
    results = seek(policy, problems, LengthReward(), config, prompt_ids=prompts, progress=False)
    floor, decoded = 0, 0
    for prompt, result in zip(prompts, results, strict=True):
        read = []
        for step in result.steps:
            if step.decoded_tokens:
                same = next((t for t, (a, b) in enumerate(zip(read, step.answer_ids, strict=False)) if a != b), len(read))
                floor += len(step.answer_ids) - same - 1  # the last token of an answer is read by no one
                read, decoded = step.answer_ids, decoded + (step.iteration > 0)
        floor += len(prompt)
    assert decoded >= 8
    assert policy.forwarded_tokens == floor
