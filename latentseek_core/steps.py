"""What a search leaves behind: a record of each step, and of the whole."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class SeekStep:
    """What one iteration did; step 0 is the chain of thought.

    Attributes:
        prefix_ids: the answer's first tokens up to the last latent: those read off the latents, behind what `middle` keeps.
        answer_ids: the whole answer, prefix included.
        answer_text: without special tokens (with them under `reference`).
        reward: R(x, c).
        checks: the reward's verdicts by name; None where one could not be read.
        loss: −r Σ log π(x_t | z_t), or what a variant puts there: the value descended on; None at step 0.
        latent_norm: Frobenius norm of z after the update.
        changed: positions whose token differs from the step before.
        decoded_tokens: tokens decoded for this step and its samples, if any; 0 where an answer was known already.
        verifier_tokens: tokens that the reward's model wrote.
        latents: z after the update, `[N, hidden]`; only from `seek_steps`.
    """

    iteration: int
    prefix_ids: list[int]
    answer_ids: list[int]
    answer_text: str
    reward: float
    checks: dict[str, bool | None]
    loss: float | None
    latent_norm: float
    changed: list[int]
    decoded_tokens: int = 0
    verifier_tokens: int = 0
    latents: torch.Tensor | None = None


@dataclass(frozen=True, eq=False)
class SeekResult:
    """A finished search. `stopped` is `threshold`, `max_iterations` (also where only the last reward passed τ: it is not tested any
    more) or `no_latents` (ρT < 1); `latent_length` is N, `prompt_tokens` is `|c|`."""

    problem_id: str
    steps: list[SeekStep]
    answer_text: str
    answer_ids: list[int]
    n_iterations: int
    latent_length: int
    stopped: str
    prompt_tokens: int
