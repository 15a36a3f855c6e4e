"""The settings of a search, and two sets of rules for the same loop: Algorithm 1 as the paper states it, and what the authors'
published code does.

`seek.py` asks these objects wherever the two differ, so that the loop itself stays free of cases. The code meant is
bigai-nlco/LatentSeek at commit 9f42eab.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from .policy import Completion, Messages, Policy


OPTIMIZERS = {"adam": torch.optim.Adam, "ascent": torch.optim.SGD}


class CleanRules:
    """Algorithm 1: one length limit, and a stop token ends an answer wherever it stands."""

    special_tokens = False  # whether answers are shown, and rewarded, with their special tokens
    reuses_chain_of_thought = True
    bare_head = False  # whether tokens are read off the head module alone, without scaling or capping behind it

    def encode(self, policy: "Policy", messages: "Messages") -> list[int]:
        return policy.encode(messages)

    def first_stops(self, policy: "Policy") -> frozenset[int]:
        """What ends the chain of thought."""
        return policy.stop_ids

    def later_stops(self, policy: "Policy") -> frozenset[int]:
        """What ends the answer behind an optimised prefix."""
        return policy.stop_ids

    def first_limit(self, config: "SeekConfig") -> int:
        return config.max_new_tokens

    def later_limit(self, config: "SeekConfig", n_latents: int) -> int:
        return config.max_new_tokens

    def read_again(self, policy: "Policy", prompts: list[list[int]], cots: list["Completion"], config: "SeekConfig"):
        """The chains of thought with the latents to start from: those that their tokens were read from."""
        return cots

    def latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents are optimised in float32, whatever the model's own precision: small steps must not be rounded away."""
        return latents.detach().float().clone()

    def prefix(self, policy: "Policy", tokens: Sequence[int]) -> list[int]:
        """The tokens up to the first stop token."""
        end = next((t for t, token in enumerate(tokens, 1) if token in policy.stop_ids), len(tokens))
        return list(tokens[:end])

    def read(self, policy: "Policy", latents: torch.Tensor) -> list[int]:
        """x_t = argmax π(· | z_t)."""
        return policy.head(latents).argmax(-1).tolist()

    def log_probability(self, policy: "Policy", latents: torch.Tensor, tokens: Sequence[int]) -> torch.Tensor:
        """Σ_t log π(x_t | z_t), with a gradient that keeps its precision where a token is nearly certain.

        log p = −log(1 + Σ_{j≠x} e^{l_j − l_x}) never subtracts numbers of like size, neither here nor in its gradient. Adam
        makes a full step of any gradient above its ε: with the usual log-softmax that would be a step along rounding noise.
        """
        logits = policy.head(latents[: len(tokens)]).double()
        chosen = torch.tensor(tokens, device=logits.device)[:, None]
        others = logits.scatter(-1, chosen, -torch.inf).logsumexp(-1)
        return -F.softplus(others - logits.gather(-1, chosen)[:, 0]).sum()


class AuthorsRules(CleanRules):
    """The published code, quirk by quirk."""

    special_tokens = True
    reuses_chain_of_thought = (
        False  # it ends by other words and at another length than what follows, so it is not the same answer
    )
    bare_head = True
    chain_of_thought_limit = 1025
    stop_words = ("</s>", "<|im_end|>", "<|endoftext|>")

    def encode(self, policy, messages):
        """The template's text, tokenized with special tokens once more: two BOS where the template writes one."""
        return policy.encode(policy.render(messages))

    def first_stops(self, policy):
        """Tokens whose text is one of the stop words or the end-of-sequence token's."""
        words = {*self.stop_words, policy.tokenizer.eos_token} - {None}
        spelled = [i for text, i in policy.tokenizer.get_vocab().items() if any(word in text for word in words)]
        return frozenset(i for i in spelled if policy.decode_text([i], special_tokens=True) in words)

    def later_stops(self, policy):
        """Only the end-of-sequence token."""
        eos = policy.tokenizer.eos_token_id
        return frozenset() if eos is None else frozenset([eos])

    def first_limit(self, config):
        """A constant of the code, whatever the length asked for."""
        return self.chain_of_thought_limit

    def later_limit(self, config, n_latents):
        """The limit counts what follows the prefix, and is passed by one token."""
        return n_latents + config.max_new_tokens + 1

    def read_again(self, policy, prompts, cots, config):
        """Latents from a whole forward. There is no cache in that code, and where the softmax is saturated Adam turns the last digits
        that a cache changes into steps: with them, losses of 1e-3 came out wrong by more than 1e-3 of themselves."""
        openings = [cot.token_ids[: config.n_latents(len(cot.token_ids))] for cot in cots]
        lengths = [len(opening) for opening in openings]
        read = policy.generate(prompts, forced=openings, max_new_tokens=lengths, keep_latents=config.max_latents)
        return [replace(cot, latents=again.latents) if n else cot for cot, again, n in zip(cots, read, lengths, strict=True)]

    def latents(self, latents):
        """In the model's own precision, bfloat16 as shipped."""
        return latents.detach().clone()

    def prefix(self, policy, tokens):
        """A stop token in the prefix stops nothing."""
        return list(tokens)

    def read(self, policy, latents):
        return policy.head(latents, bare=True).argmax(-1).tolist()

    def log_probability(self, policy, latents, tokens):
        """Σ_t log(p_t + 1e-8 + 1e-10) at the tokens that the latents now read as, from the head module alone."""
        probabilities = policy.head(latents, bare=True).softmax(-1) + 1e-8
        return torch.log(probabilities.max(-1).values + 1e-10).sum()


CLEAN, AUTHORS = CleanRules(), AuthorsRules()


@dataclass(frozen=True)
class SeekConfig:
    """The settings of a search; the defaults are the clean setting.

    Attributes:
        rho: ρ, the share of the chain of thought's T tokens whose latents are optimised, in (0, 1].
        learning_rate: η.
        max_iterations: K, at least 1.
        reward_threshold: τ; a reward strictly above it ends the search.
        max_new_tokens: most tokens of an answer.
        max_latents: most latents, whatever ρT.
        optimizer: `adam` (as in the authors' code, fresh for each problem) or `ascent` (the plain step of Algorithm 1).
        grad_clip: largest norm of the gradient of all latents of a problem, or None.
        seed: for rewards and controls that draw at random; the search itself is deterministic.

    Raises:
        ValueError: a value out of range; the message names field and range.
    """

    rho: float = 0.2
    learning_rate: float = 0.03
    max_iterations: int = 10
    reward_threshold: float = -0.2
    max_new_tokens: int = 1024
    max_latents: int = 300
    optimizer: str = "adam"
    grad_clip: float | None = None
    seed: int = 0
    rules: CleanRules = field(default=CLEAN, repr=False)

    def __post_init__(self):
        allowed = {
            "rho": (0 < self.rho <= 1, "in (0, 1]"),
            "learning_rate": (self.learning_rate > 0, "above 0"),
            "max_iterations": (self.max_iterations >= 1, "at least 1"),
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "max_latents": (self.max_latents >= 1, "at least 1"),
            "optimizer": (self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
            "grad_clip": (self.grad_clip is None or self.grad_clip > 0, "None or above 0"),
        }
        for name, (fits, values) in allowed.items():
            if not fits:
                raise ValueError(f"SeekConfig.{name} is {getattr(self, name)!r}; it must be {values}")

    def n_latents(self, length: int) -> int:
        """N = min(⌊ρT⌋, max_latents), T the chain of thought's tokens with its stop token."""
        return min(int(self.rho * length), self.max_latents)

    @classmethod
    def reference(cls, **overrides) -> "SeekConfig":
        """The authors' published code, token for token (`AuthorsRules`); a clip of 0 means none there."""
        overrides["grad_clip"] = overrides.get("grad_clip") or None
        return cls(**overrides, rules=AUTHORS)
