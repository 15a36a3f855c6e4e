"""What a search must cost, counted from its steps alone, and what the backbone really read; and that a batch changes nothing."""

import pytest
from conftest import make_policy, random_problems, random_prompts

from latentseek_core import Policy, SeekConfig, SelfReward, load_benchmark, render_prompt, seek
from latentseek_core.policy import shared_length
from latentseek_core.prompts import render_checks

MODEL = "tiny-qwen2-1.8m"


def floor_of_answers(prompts, results) -> int:
    """The prompt once a problem, then of each new answer the tokens from the first changed one on; an answer's last token is read
    by no one."""
    floor = sum(map(len, prompts))
    for result in results:
        read: list[int] = []
        for step in result.steps:
            if step.decoded_tokens:
                floor += len(step.answer_ids) - shared_length([read, step.answer_ids]) - 1
                read = step.answer_ids
    return floor


def floor_of_verdicts(policy, reward, problems, results) -> int:
    """For each answer that was not judged before, the checks' common part once, four tails, and the verdicts' tokens but the last."""
    floor, by_id = 0, {problem.id: problem for problem in problems}
    for result in results:
        judged = set()
        for step in result.steps:
            if step.answer_text in judged:
                continue
            judged.add(step.answer_text)
            checks = render_checks(by_id[result.problem_id], step.answer_text, reward.prompt)
            prompts = [policy.encode(messages) for messages in checks.values()]
            shared = shared_length(prompts)
            floor += shared + sum(len(ids) - shared for ids in prompts) + step.verifier_tokens - len(prompts)
    return floor


def test_32_problems_that_never_pass_cost_the_floor():
    policy, prompts = make_policy(), random_prompts(32, seed=3)
    policy.forwarded_tokens = 0
    config = SeekConfig(rho=0.4, learning_rate=0.2, max_iterations=10, max_new_tokens=40)
    results = seek(
        policy, random_problems(32), lambda ps, answers: [-1.0] * len(answers), config, prompt_ids=prompts, progress=False
    )
    assert all(result.n_iterations == 10 for result in results)
    assert sum(bool(step.decoded_tokens) for result in results for step in result.steps) > 64
    floor = floor_of_answers(prompts, results)
    assert floor <= policy.forwarded_tokens <= 1.02 * floor


@pytest.mark.slow
def test_self_reward_on_the_embedded_model_costs_the_floor():
    policy = Policy.from_pretrained(MODEL)
    problems, reward = load_benchmark("tiny-gsm", split="tune", limit=32), SelfReward(policy)
    policy.forwarded_tokens = 0
    config = SeekConfig(max_new_tokens=256, reward_threshold=0.5)  # a reward is at most 0: the search goes on to the end
    results = seek(policy, problems, reward, config, progress=False)
    assert all(result.n_iterations == 10 for result in results)
    prompts = [policy.encode(render_prompt(problem, folder=policy.folder)) for problem in problems]
    floor = floor_of_answers(prompts, results) + floor_of_verdicts(policy, reward, problems, results)
    assert floor <= policy.forwarded_tokens <= 1.02 * floor


@pytest.mark.slow
def test_200_problems_have_the_same_answers_alone_by_7_and_by_64():
    policy, problems = Policy.from_pretrained(MODEL), load_benchmark("tiny-gsm", limit=200)
    prompts = [policy.encode(render_prompt(problem, folder=policy.folder)) for problem in problems]
    answers = {}
    for size in (1, 7, 64):
        policy.batch_size = size
        answers[size] = [c.token_ids for c in policy.generate(prompts, max_new_tokens=256)]
    assert answers[1] == answers[7] == answers[64]
