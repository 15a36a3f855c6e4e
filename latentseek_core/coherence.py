"""How much a text reads like the model's own: the log-probability of openings under the frozen model.

A search may leave behind openings that the model would never write ("Pirst multiply"). Their perplexity says so without a reader.
"""

from collections.abc import Sequence

import torch

from .policy import Policy


@torch.no_grad()
def log_probabilities(policy: Policy, prompts: Sequence[Sequence[int]], openings: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """log π(x_t | c, x_<t) of each token of each opening, `[len(opening)]` each, in float64 on the CPU.

    Args:
        policy: the frozen model.
        prompts: c, as token ids.
        openings: what each completion starts with, as token ids; at least one token.
    """
    lengths = [len(opening) for opening in openings]
    read = policy.generate(
        [list(ids) for ids in prompts], forced=[list(ids) for ids in openings], max_new_tokens=lengths, keep_latents=True
    )
    found = []
    for opening, completion in zip(openings, read, strict=True):
        chances = policy.head(completion.latents[: len(opening)]).double().log_softmax(-1).cpu()
        found.append(chances[torch.arange(len(opening)), torch.tensor(list(opening))])
    return found


def perplexity(log_probability: torch.Tensor) -> float:
    """exp of the mean surprise a token."""
    return (-log_probability.mean()).exp().item()
