"""The surprise of an opening equals what the model's own logits say, read without a cache."""

import pytest
import torch
from conftest import make_policy

from latentseek_core.coherence import log_probabilities, perplexity


def test_it_is_the_sum_over_the_models_own_logits():
    policy = make_policy()
    prompts, openings = [[5, 6, 7], [9, 3, 4, 8, 2]], [[4, 4, 6], [11]]
    found = log_probabilities(policy, prompts, openings)
    for prompt, opening, chances in zip(prompts, openings, found, strict=True):
        logits = policy.model(torch.tensor([prompt + opening])).logits[0, len(prompt) - 1 : -1].double()
        expected = [row.log_softmax(-1)[token].item() for row, token in zip(logits, opening, strict=True)]
        assert chances.tolist() == pytest.approx(expected, abs=1e-5)


def test_an_opening_may_hold_a_stop_token():
    policy = make_policy()
    stop = next(iter(policy.stop_ids))
    assert len(log_probabilities(policy, [[5, 6]], [[4, stop, 7]])[0]) == 3


def test_perplexity_of_a_fair_coin():
    assert perplexity(torch.log(torch.tensor([0.5, 0.5, 0.5]))) == pytest.approx(2.0)
