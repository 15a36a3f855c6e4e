"""`SeekConfig.reference` against recordings of the authors' code: the same tokens, step by step.

The recordings are not part of the repository; without them these tests are skipped.
"""

import json
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from conftest import mostly_slow
from safetensors.torch import load_file

from latentseek_core import Policy, Problem, SeekConfig, seek, seek_steps

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
CASES = json.loads((GOLDEN / "cases.json").read_text())["cases"] if GOLDEN.is_dir() else []

pytestmark = pytest.mark.skipif(not CASES, reason="the recordings are not here")


@lru_cache
def load_policy(name: str) -> Policy:
    return Policy.from_pretrained(GOLDEN / name)


class RecordedRewards:
    """Gives the rewards laid out in advance, one a call, and remembers the texts that it was asked about."""

    def __init__(self, rewards):
        self.rewards, self.texts = iter(rewards), []

    def __call__(self, problems, answers):
        self.texts += answers
        return [next(self.rewards) for _ in problems]


def run(case, function):
    policy = load_policy(case["model"])
    reward = RecordedRewards(case["stub_rewards"])
    problem = Problem(case["name"], case["prompt_text"], "", "gsm8k")
    config = SeekConfig.reference(**case["settings"])
    ids = case["prompt_ids"]
    assert policy.encode(case["prompt_text"]) == ids
    if function is seek:
        (result,) = seek(policy, [problem], reward, config, prompt_ids=[ids], progress=False)
        return result.steps, result, reward
    return list(seek_steps(policy, problem, reward, config, prompt_ids=ids)), None, reward


@pytest.mark.parametrize("function", mostly_slow([seek, seek_steps], seek))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_meets_the_recording(case, function):
    steps, result, reward = run(case, function)
    assert steps[0].answer_ids == case["cot_ids"]
    assert steps[0].answer_text == case["cot_text"]
    assert len(steps) == len(case["iterations"]) + 1
    for step, recorded in zip(steps[1:], case["iterations"], strict=True):
        assert step.answer_ids == recorded["answer_ids"]
        assert step.answer_text == recorded["answer_text"]
        assert step.changed == recorded["changed"]
        assert step.loss == pytest.approx(recorded["loss"], rel=1e-3)
        assert step.latent_norm == pytest.approx(recorded["latent_norm"], rel=1e-3)
    assert [step.reward for step in steps] == case["reward_history"]
    assert reward.texts == [step.answer_text for step in steps]
    if result:
        assert result.answer_ids == case["final_answer_ids"]
        assert result.answer_text == case["final_answer"]
        assert (result.stopped, result.n_iterations) == (case["stopped"], case["update_count"])
        assert result.latent_length == case["latent_length"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_latents_follow_the_recording(case):
    recorded = load_file(GOLDEN / "latents.safetensors")
    tolerance = max(1e-4, 10 * max(v or 0 for v in case["latent_difference"].values()))
    for step in run(case, seek_steps)[0]:
        key = f"{case['name']}/latents_{step.iteration}"
        if key in recorded:
            torch.testing.assert_close(step.latents, recorded[key], atol=tolerance, rtol=0)
