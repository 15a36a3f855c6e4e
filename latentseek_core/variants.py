"""The places that Algorithm 1 leaves open, and controls that fill one of them otherwise.

`Plain` fills them as the paper does: where the search starts and where its latents stand, which reward a step follows and how far
it goes, how tokens are read off the latents, when the search stops and which answer it returns. `seek.py` asks one such object a
problem. A variant replaces one part; whatever it draws at random depends on seed, problem and iteration alone. A reader's own is a
subclass of `Plain` in any file, named by FILE.py:CLASS (`own.py`).
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from .policy import Completion, Policy
from .problems import Problem
from .rewards import Reward

if TYPE_CHECKING:
    from .seek import _Search
    from .settings import SeekConfig

# An answer to start from, and the tokens decoded and those of verdicts that finding it took beside its own.
Start = tuple[Completion, int, int]
# From openings, `(search, tokens)` each, to the answers behind them, each with the tokens decoded for it.
Continue = Callable[[list[tuple["_Search", list[int]]]], list[tuple[list[int], int]]]


class Plain:
    """Algorithm 1 as printed; `search` is the state of one problem's search, as `seek.py` keeps it."""

    epochs = 1  # gradient steps an iteration
    least_samples = 1  # of `n_samples`

    def __init__(self, search: "_Search"):
        self.search, self.config = search, search.config

    @staticmethod
    def first_latent(config: "SeekConfig", length: int) -> int:
        """The place of the first latent in an answer of T = `length` tokens."""
        return 0

    @staticmethod
    def rest_temperature(config: "SeekConfig") -> float:
        """At which the rest of an answer is decoded; 0 is greedy."""
        return 0.0

    @staticmethod
    def starts(
        cots: list[Completion],
        policy: Policy,
        problems: Sequence[Problem],
        prompts: list[list[int]],
        reward: Reward,
        config: "SeekConfig",
    ) -> list[Start]:
        """What each problem's search starts from."""
        return [(cot, 0, 0) for cot in cots]

    @staticmethod
    def prepare(searches: list["_Search"], reward: Reward, answers_behind: Continue) -> None:
        """What an iteration needs to know of other answers than the last ones, for all searches of a batch that go on."""

    @property
    def iterations(self) -> int:
        """K."""
        return self.config.max_iterations

    def accepts(self) -> bool:
        """Whether the last answer ends the search: r > τ."""
        return self.search.steps[-1].reward > self.config.reward_threshold

    def reward(self) -> float:
        """r as the step sees it."""
        return self.search.steps[-1].reward

    def tokens(self) -> list[int]:
        """x_1..x_N, the tokens whose probability the step changes."""
        return self.search.tokens

    def objective(self) -> torch.Tensor:
        """J = r Σ log π(x_t | z_t) (eq. 7), up to the answer's end if that comes before x_N; the step ascends it."""
        search, tokens = self.search, self.search.opening(self.tokens())[len(self.search.fixed) :]
        return self.reward() * search.rules.log_probability(search.policy, search.latents, tokens)

    def move(self) -> None:
        """z ← z + η ∇J, in place, by the optimiser's rule."""
        self.search.optimizer.step()

    def read(self) -> list[int]:
        """x_t ← argmax π(· | z_t)."""
        return self.search.rules.read(self.search.policy, self.search.latents)

    def chosen(self) -> int:
        """The step whose answer is returned: the last."""
        return len(self.search.steps) - 1

    def generator(self, purpose: str) -> torch.Generator:
        """Random numbers for one purpose in this iteration."""
        return torch.Generator().manual_seed(self.search.seed(purpose))

    def distribution(self, latents: torch.Tensor) -> torch.Tensor:
        """log π(· | z_t) of latents `[N, hidden]`: `[N, vocabulary]`, in float64."""
        return self.search.policy.head(latents, bare=self.search.rules.bare_head).double().log_softmax(-1)


def draw_tokens(log_probabilities: torch.Tensor, generator: torch.Generator, count: int = 1) -> torch.Tensor:
    """`count` tokens from each row of `[N, vocabulary]`, which need not sum to 1: `[count, N]`, the same on every device."""
    cumulative = log_probabilities.exp().cumsum(-1)
    draws = torch.rand(len(cumulative), count, generator=generator, dtype=torch.float64).to(cumulative.device)
    tokens = torch.searchsorted(cumulative, draws * cumulative[:, -1:], right=True)
    return tokens.clamp(max=cumulative.shape[-1] - 1).T


class Zero(Plain):
    """No iteration: the chain of thought."""

    iterations = 0


class Kick(Plain):
    """One Gaussian kick z + ε, ε ~ N(0, `kick_variance`·I), whatever the chain of thought's reward; no gradient (v3, Table 5)."""

    iterations = 1

    def accepts(self):
        return False

    def move(self):
        z = self.search.latents
        z += math.sqrt(self.config.kick_variance) * torch.randn(z.shape, generator=self.generator("kick")).to(z)


class ConstantStop(Plain):
    """The reward stops the search, but every step follows r = −1: what is left of the reward is a stop sign.

    Where a search goes on, PSRM is −1 already, so with it this is the plain search, bit for bit. Under Adam, without clipping, the
    same holds for any negative reward that stays as it is, up to Adam's ε = 1e-8: its step m̂ / (√v̂ + ε) is the same for g and
    c·g. It does not hold where rewards change from step to step (m and v then weigh the steps by them), with `grad_clip` (which
    cuts a large gradient and not a small one), or under `ascent` (a step as long as the reward is large).
    """

    def reward(self):
        return -1.0


class Constant(ConstantStop):
    """r = −1, and the search never stops before K (v3, Table 7). The true reward is only noted; one that asks a model costs tokens
    for nothing here."""

    def accepts(self):
        return False


class Middle(Plain):
    """Latents from `middle_from` of the chain of thought on (0.4 in v3, Table 13); the tokens before them stay."""

    @staticmethod
    def first_latent(config, length):
        return int(config.middle_from * length)


class Random(Plain):
    """A random direction: each latent moves as far as the gradient's step would have moved it. The reward still stops."""

    def move(self):
        z = self.search.latents
        before = z.clone()
        super().move()
        lengths = (z - before).norm(dim=-1, keepdim=True)
        noise = torch.randn(z.shape, generator=self.generator("direction")).to(z)
        z.copy_(before + lengths * noise / noise.norm(dim=-1, keepdim=True))


class Shuffled(Plain):
    """Steps follow the reward of the next problem of the batch that is still searched; stopping is by the own one. The last problem
    left keeps the reward lent to it before. So results depend on who shares a batch, unlike all others."""

    lent: float | None = None

    @staticmethod
    def prepare(searches, reward, answers_behind):
        for search, other in zip(searches, searches[1:] + searches[:1], strict=True):
            if search is not other:
                search.variant.lent = other.steps[-1].reward

    def reward(self):
        return super().reward() if self.lent is None else self.lent


class Best(Plain):
    """Returns the best-rewarded answer rather than the last, the earliest of equals."""

    def chosen(self):
        rewards = [step.reward for step in self.search.steps]
        return rewards.index(max(rewards))


class TokenTwin(Plain):
    """The search in token space: where the gradient changes what the latents read as, the token is drawn anew from the model.

    The latents are moved as ever, by the twin's rewards; a position whose reading changes gets a token from π(· | z_t) at the
    chain of thought's own z_t, other than the one that it holds. As many tokens change as the gradient changes, none by it.
    """

    def __init__(self, search):
        super().__init__(search)
        self.origin, self.seen = search.latents.detach().clone(), list(search.tokens)

    def tokens(self):
        return self.seen

    def read(self):
        seen, tokens = super().read(), list(self.search.tokens)
        flips = [t for t, (new, old) in enumerate(zip(seen, self.seen, strict=True)) if new != old]
        self.seen = seen
        if flips:
            others = self.distribution(self.origin[flips])
            others[range(len(flips)), [tokens[t] for t in flips]] = -torch.inf
            for t, token in zip(flips, draw_tokens(others, self.generator("twin"))[0].tolist(), strict=True):
                tokens[t] = token
        return tokens


CONTROLS = {"zero": Zero, "kick": Kick, "constant": Constant, "constant_stop": ConstantStop, "middle": Middle, "random": Random}
CONTROLS |= {"shuffled": Shuffled, "best": Best, "token_twin": TokenTwin}
