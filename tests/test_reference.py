"""`SeekConfig.reference` against the authors' code once more, for readers without the recordings: a plain loop with its quirks,
written from a description of that code, on architectures of all kinds. In float64, so that no quirk hides behind rounding."""

import copy

import pytest
import torch
from conftest import ALL, LengthReward, make_policy, mostly_slow, random_prompts

from latentseek_core import Problem, SeekConfig, seek_steps
from latentseek_core.settings import AuthorsRules

PROBLEM = Problem("1", "question", "1", "tiny-gsm")
COT_LIMIT = 40


@pytest.fixture(autouse=True)
def short_chain_of_thought(monkeypatch):
    monkeypatch.setattr(AuthorsRules, "chain_of_thought_limit", COT_LIMIT)


def step(policy, ids):
    """One whole forward: the last state, and the token that the bare head reads from it."""
    state = policy.backbone(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1]
    return state, int(policy.head_module(state).argmax())


def chain_of_thought(policy, prompt, stop_words):
    answer, states = [], []
    while len(answer) < COT_LIMIT:
        state, token = step(policy, prompt + answer)
        states.append(state)
        answer.append(token)
        if policy.tokenizer.decode([token]) in stop_words:
            break
    return answer, states


@torch.no_grad()
def continued(policy, prompt, prefix, n):
    """At least one token and at most n + 1 behind the prefix, whatever the prefix holds; only EOS ends it."""
    answer = list(prefix)
    for _ in range(n + 1):
        answer.append(step(policy, prompt + answer)[1])
        if answer[-1] == policy.tokenizer.eos_token_id:
            break
    return answer


def authors_loop(policy, prompt, reward, rho, lr, iterations, threshold, n):
    with torch.no_grad():
        answer, states = chain_of_thought(policy, prompt, {"</s>", "<|im_end|>", "<|endoftext|>", policy.tokenizer.eos_token})
    length, r = int(rho * len(answer)), reward(answer)
    answers = [answer]
    if length == 0:
        return answers
    z = torch.stack(states[:length]).clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=lr)
    for _ in range(iterations):
        if r > threshold:
            break
        adam.zero_grad()
        p = policy.head_module(z).softmax(-1) + 1e-8
        (-r * torch.log(p[range(length), p.argmax(-1)] + 1e-10).sum()).backward()
        adam.step()
        answer = continued(policy, prompt, policy.head_module(z.detach()).argmax(-1).tolist(), n)
        r = reward(answer)
        answers.append(answer)
    return answers


@pytest.mark.parametrize("rho", mostly_slow([0.2, 1.0], 0.2))
@pytest.mark.parametrize("architecture", ALL)
def test_equals_the_authors_loop(architecture, rho):
    policy = make_policy(architecture)
    policy = type(policy)(copy.deepcopy(policy.model).double(), policy.tokenizer, name=architecture)
    config = SeekConfig.reference(rho=rho, learning_rate=0.3, max_iterations=4, max_new_tokens=6)
    changed = 0

    def text(ids):
        return policy.tokenizer.decode(ids, clean_up_tokenization_spaces=False)

    for prompt in random_prompts(4, seed=1):
        steps = list(seek_steps(policy, PROBLEM, LengthReward(), config, prompt_ids=prompt))
        expected = authors_loop(policy, prompt, lambda ids: LengthReward()([], [text(ids)])[0], rho, 0.3, 4, -0.2, 6)
        assert [s.answer_ids for s in steps] == expected
        assert [s.answer_text for s in steps] == [text(ids) for ids in expected]
        changed += sum(len(s.changed) for s in steps)
    assert changed > 0
