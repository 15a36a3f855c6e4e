"""How much a text reads like the model's own: the log-probability of openings under the frozen model.

A search may leave behind openings that the model would never write ("Pirst multiply"). Their perplexity says so without a reader.
"""

from collections.abc import Iterator, Sequence

import torch

from .policy import Policy


@torch.no_grad()
def distributions(policy: Policy, prompts: Sequence[Sequence[int]], openings: Sequence[Sequence[int]]) -> Iterator[torch.Tensor]:
    """log π(· | c, x_<t) at each token of each opening, `[len(opening), vocabulary]` each, in float64; one forward reads them.

    Args:
        policy: the frozen model.
        prompts: c, as token ids.
        openings: what each completion starts with, as token ids; at least one token. What the context has no room for is left out.
    """
    lengths = [len(opening) for opening in openings]
    read = policy.generate(
        [list(ids) for ids in prompts], forced=[list(ids) for ids in openings], max_new_tokens=lengths, keep_latents=True
    )
    for length, completion in zip(lengths, read, strict=True):
        yield policy.head(completion.latents[:length]).double().log_softmax(-1)


def log_probabilities(policy: Policy, prompts: Sequence[Sequence[int]], openings: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """log π(x_t | c, x_<t) of each token of each opening, `[len(opening)]` each, on the CPU; as `distributions`."""
    return [
        chances.cpu()[torch.arange(len(chances)), torch.tensor(list(opening)[: len(chances)])]
        for opening, chances in zip(openings, distributions(policy, prompts, openings), strict=True)
    ]


def perplexity(log_probability: torch.Tensor) -> float:
    """exp of the mean surprise a token."""
    return (-log_probability.mean()).exp().item()
