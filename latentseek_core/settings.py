"""The settings of a search, and two sets of rules for the same loop: Algorithm 1 as the paper states it, and what the authors'
published code does.

`seek.py` asks these objects wherever the two differ, so that the loop itself stays free of cases. The code meant is
bigai-nlco/LatentSeek at commit 9f42eab.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from .optimisers import OPTIMISERS
from .own import joined, own_file, own_variant
from .variants import CONTROLS, Plain

if TYPE_CHECKING:
    from .policy import Completion, Messages, Policy


OPTIMIZERS = {"adam": torch.optim.Adam, "ascent": torch.optim.SGD}
VARIANTS: dict[str, type[Plain]] = {"": Plain} | CONTROLS | OPTIMISERS
NESTING = {"move", "objective"}  # parts of which one variant may build on another's


def variant_class(name: str) -> type[Plain]:
    """The class of a variant, or of several that replace different parts: `middle+random`; the first is the outermost.

    Raises:
        ValueError: an unknown variant, one of a reader's own that can't be loaded, or two that replace the same part.
    """
    names = joined(name)
    if unknown := [part for part in names if (part not in VARIANTS and not own_file(part)) or (name and not part)]:
        known = ", ".join(filter(None, VARIANTS))
        raise ValueError(f"unknown variant {unknown[0]!r}: use one of {known}, FILE.py:CLASS, or several joined by +")
    kinds = [VARIANTS[part] if part in VARIANTS else own_variant(part) for part in names]
    for (one, first), (other, second) in combinations(zip(names, kinds, strict=True), 2):
        if clash := _beside(first, second) & _beside(second, first) - NESTING:
            raise ValueError(f"the variants {one} and {other} replace the same part ({min(clash)}); use one of the two")
    try:
        return kinds[0] if len(kinds) == 1 else type(name, tuple(kinds), {})
    except TypeError as error:  # one twice, or one before another that builds on it
        raise ValueError(f"the variants {name} can't be joined in this order; name each once, the more special first") from error


def _beside(one: type[Plain], other: type[Plain]) -> set[str]:
    """The parts that one variant has not in common with another."""
    kinds = set(one.__mro__) - set(other.__mro__)
    return {part for kind in kinds for part in vars(kind) if not part.startswith("__")}


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

    def later_limit(self, config: "SeekConfig", end: int) -> int:
        """Most tokens of an answer of which the first `end` are given."""
        return config.max_new_tokens

    def first_answers(self, policy: "Policy", prompts: list[list[int]], config: "SeekConfig", **how) -> list["Completion"]:
        """x, z: answers with the latents that their tokens were read from; greedy ones unless `how` says otherwise."""
        kept = {"keep_latents": config.kept, "remember": config.kept, "bare_head": self.bare_head}
        limit, stops = self.first_limit(config), self.first_stops(policy)
        answers = policy.generate(prompts, max_new_tokens=limit, stop_ids=stops, **kept, **how)
        return self.read_again(policy, prompts, answers, config)

    def later_answers(self, policy, prompts, openings, ends, config: "SeekConfig", seeds, memories) -> list["Completion"]:
        """Ordinary decoding behind openings, of which the first `ends` tokens are given."""
        return policy.generate(
            prompts,
            forced=openings,
            max_new_tokens=[self.later_limit(config, end) for end in ends],
            stop_ids=self.later_stops(policy),
            temperature=config.rest_temperature,
            seed=seeds,
            bare_head=self.bare_head,
            after=memories,
            remember=config.kept,
        )

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

    def later_limit(self, config, end):
        """The limit counts what follows the prefix, and is passed by one token."""
        return end + config.max_new_tokens + 1

    def read_again(self, policy, prompts, cots, config):
        """Latents from a whole forward. There is no cache in that code, and where the softmax is saturated Adam turns the last digits
        that a cache changes into steps: with them, losses of 1e-3 came out wrong by more than 1e-3 of themselves."""
        ends = [config.first_latent(len(cot.token_ids)) + config.n_latents(len(cot.token_ids)) for cot in cots]
        openings = [cot.token_ids[:end] for cot, end in zip(cots, ends, strict=True)]
        lengths = [len(opening) for opening in openings]
        read = policy.generate(prompts, forced=openings, max_new_tokens=lengths, keep_latents=config.kept)
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
        seed: for rewards and variants that draw at random; the search itself is deterministic.
        variant: what replaces a part of the search: one of `VARIANTS`, `FILE.py:CLASS`, several joined by `+`, or none. The rest is for
            variants only:
        n_samples: M, openings that `sampled`, `group`, `ppo` and `harvest` draw in an iteration; samples that `joint` starts from.
        temperature: of the answers that `joint` starts from, and of what `drawn_rest` samples.
        epochs, clip: of `ppo`: gradient steps on the same samples, and ε.
        kl_weight: β of `kl`.
        flip_share: of `scaled`: the share of latents that a step makes read otherwise, in (0, 1].
        kick_variance: of `kick`, a coordinate's.
        middle_from: where the latents of `middle` begin, a share of the chain of thought in [0, 1).

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
    variant: str = ""
    n_samples: int = 3
    temperature: float = 1.0
    epochs: int = 4
    clip: float = 0.2
    kl_weight: float = 0.1
    flip_share: float = 0.1
    kick_variance: float = 0.5
    middle_from: float = 0.4
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
            "n_samples": (self.n_samples >= self.parts.least_samples, f"at least {self.parts.least_samples}"),
            "temperature": (self.temperature > 0, "above 0"),
            "epochs": (self.epochs >= 1, "at least 1"),
            "clip": (self.clip > 0, "above 0"),
            "kl_weight": (self.kl_weight >= 0, "at least 0"),
            "flip_share": (0 < self.flip_share <= 1, "in (0, 1]"),
            "kick_variance": (self.kick_variance >= 0, "at least 0"),
            "middle_from": (0 <= self.middle_from < 1, "in [0, 1)"),
        }
        for name, (fits, values) in allowed.items():
            if not fits:
                raise ValueError(f"SeekConfig.{name} is {getattr(self, name)!r}; it must be {values}")

    @cached_property
    def parts(self) -> type[Plain]:
        """What fills the places that Algorithm 1 leaves open; a file of a reader's own is read once for it."""
        return variant_class(self.variant)

    def n_latents(self, length: int) -> int:
        """N = min(⌊ρT⌋, max_latents), T the chain of thought's tokens with its stop token; fewer where the answer ends before."""
        return min(int(self.rho * length), self.max_latents, length - self.first_latent(length))

    def first_latent(self, length: int) -> int:
        """The place of the first latent in a chain of thought of `length` tokens: 0 but for `middle`."""
        return self.parts.first_latent(self, length)

    @property
    def kept(self) -> int:
        """Up to which token of an answer its latents may be asked for."""
        return self.first_latent(self.rules.first_limit(self)) + self.max_latents

    @property
    def rest_temperature(self) -> float:
        return self.parts.rest_temperature(self)

    @classmethod
    def reference(cls, **overrides) -> "SeekConfig":
        """The authors' published code, token for token (`AuthorsRules`); a clip of 0 means none there."""
        overrides["grad_clip"] = overrides.get("grad_clip") or None
        return cls(**overrides, rules=AUTHORS)
