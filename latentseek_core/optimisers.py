"""Other optimisers than Algorithm 1's one-sample step: what is ascended, how far a step goes, where it starts, how it is read.

The paper names PPO as future work. With several openings sampled from the latents, `[M, N]` tokens x^m ~ Π_t π(· | z_t), each
continued and rewarded, the policy gradient E[R ∇ log π(x | z)] of eq. 7 is estimated rather than taken at the one decoded answer.
"""

import math

import torch

from .policy import Completion, Policy, seed_of
from .rewards import Score, scores_of
from .variants import Plain, Start, draw_tokens


class Sampled(Plain):
    """∇J ≈ (1/M) Σ_m A_m Σ_t ∇ log π(x_t^m | z_t), A_m = r_m − the mean of the other samples' rewards: unbiased for ∇E[R].

    M = `n_samples` openings are sampled from the latents in each iteration, and their answers count as tokens of its step. The
    baseline leaves no push away from what is refused throughout: equal rewards give no gradient.
    """

    least_samples = 2  # a baseline needs another sample

    @classmethod
    def prepare(cls, searches, reward, answers_behind):
        drawn = [(search, opening) for search in searches for opening in search.variant.draw()]
        answers = answers_behind(drawn)
        texts = [search.text(answer) for (search, _), (answer, _) in zip(drawn, answers, strict=True)]
        scores = scores_of(reward, [search.problem for search, _ in drawn], texts)
        for (search, _), (_, decoded), score in zip(drawn, answers, scores, strict=True):
            search.variant.rewards.append(score.value)
            search.aside = [search.aside[0] + decoded, search.aside[1] + score.tokens]

    @torch.no_grad()
    def draw(self) -> list[list[int]]:
        """Samples openings; what stands behind an end counts for nothing."""
        search, self.rewards = self.search, []
        self.samples = draw_tokens(self.distribution(search.latents), self.generator("samples"), self.config.n_samples)
        openings = [search.opening(tokens) for tokens in self.samples.tolist()]
        ends = torch.tensor([len(opening) - len(search.fixed) for opening in openings], device=self.samples.device)
        self.counts = torch.arange(search.n_latents, device=ends.device) < ends[:, None]
        self.before = self.log_probabilities()
        return openings

    def log_probabilities(self) -> torch.Tensor:
        """log π(x_t^m | z_t), `[M, N]`."""
        return self.distribution(self.search.latents).gather(-1, self.samples.T).T

    def deviations(self) -> torch.Tensor:
        """r_m − mean, `[M]`; exactly 0 where all are equal, for a step may be as long as a gradient is short."""
        rewards = torch.tensor(self.rewards, dtype=torch.float64, device=self.samples.device) - self.rewards[0]
        return rewards - rewards.mean()

    def advantages(self) -> torch.Tensor:
        """A_m, `[M]`."""
        return self.deviations() * len(self.rewards) / (len(self.rewards) - 1)

    def gains(self) -> torch.Tensor:
        """What each sampled token adds to M·J, `[M, N]`."""
        return self.advantages()[:, None] * self.log_probabilities()

    def objective(self):
        return (self.gains() * self.counts).sum() / len(self.rewards)


class Group(Sampled):
    """A_m = (r_m − mean) / standard deviation, as in GRPO; equal rewards give no gradient."""

    def advantages(self):
        return self.deviations() / (self.deviations().std(correction=0) + 1e-6)


class Ppo(Sampled):
    """PPO's clipped objective (Schulman et al. 2017), `epochs` steps on the same samples: Σ_t min(q A, clip(q, 1 ± ε) A), with q the
    ratio of π(x_t | z_t) to what it was when x was sampled. The first of the steps is that of `sampled`."""

    def __init__(self, search):
        super().__init__(search)
        self.epochs = self.config.epochs

    def gains(self):
        ratio, advantages = (self.log_probabilities() - self.before).exp(), self.advantages()[:, None]
        clipped = ratio.clamp(1 - self.config.clip, 1 + self.config.clip)
        return torch.minimum(ratio * advantages, clipped * advantages)


class Harvest(Sampled):
    """As `sampled`; and where a sample is accepted, the best-rewarded one, the first of equals, is the next answer."""

    def read(self):
        best = max(range(len(self.rewards)), key=self.rewards.__getitem__)
        accepted = self.rewards[best] > self.config.reward_threshold
        return self.samples[best].tolist() if accepted else super().read()


class Kl(Plain):
    """J − β Σ_t KL(π(· | z_t) ‖ π(· | z_t of the chain of thought)), β = `kl_weight`: what the latents say stays near the model."""

    def __init__(self, search):
        super().__init__(search)
        self.model = self.distribution(search.latents.detach())

    def objective(self):
        ours = self.distribution(self.search.latents)
        return super().objective() - self.config.kl_weight * (ours.exp() * (ours - self.model)).sum()


class Ascent(Plain):
    """z ← z + η ∇J, the step as Algorithm 1 prints it, whatever `optimizer` says."""

    def move(self):
        z = self.search.latents
        z.add_(z.grad, alpha=-self.config.learning_rate)  # the gradient is that of −J


class Normalised(Plain):
    """z ← z + η √(N·d) ∇J / ‖∇J‖: η is a coordinate's root mean square move, as in Adam's first step, but latents with a larger
    gradient go further. The reward's size drops out, its sign stays."""

    def move(self):
        z = self.search.latents
        if (length := z.grad.norm()) > 0:
            z.add_(z.grad, alpha=-self.config.learning_rate * math.sqrt(z.numel()) / length.item())


class Scaled(Plain):
    """The optimiser's step, made as long as it takes for ⌈`flip_share`·N⌉ latents to read otherwise; where no length changes so
    many, for as many as it can, and where none changes, as it is."""

    def move(self):
        search = self.search
        before, wanted = search.latents.clone(), math.ceil(self.config.flip_share * search.n_latents)
        super().move()
        step = search.latents - before
        scales = flip_scales(search.policy, before, step, self.tokens()).sort().values
        if flipped := int(scales[:wanted].isfinite().sum()):
            # Beyond the tie by half, so that rounding settles nothing, but well before the next one.
            last, following = [*scales.tolist(), math.inf][flipped - 1 : flipped + 1]
            search.latents.copy_(before + step * min(1.5 * last, (last + following) / 2))


def flip_scales(policy: Policy, latents: torch.Tensor, step: torch.Tensor, tokens: list[int]) -> torch.Tensor:
    """For each of N latents the smallest s at which z + s·step reads as another token than its own; `[N]`, infinite where none does.

    The head is linear, and what some models do behind it keeps the order. So every other token gains on the chosen one at a
    constant rate, and the first to overtake is found without trying.
    """
    before = policy.head(latents, bare=True)
    chosen = torch.tensor(tokens, device=before.device)[:, None]
    gains = policy.head(latents + step, bare=True) - before
    lead, gain = before.gather(-1, chosen) - before, gains - gains.gather(-1, chosen)
    return torch.where(gain > 0, lead / gain, torch.inf).where(lead >= 0, 0.0).min(-1).values


# --- other starts and readings ---


class Joint(Plain):
    """Token and latent search in one: where the chain of thought is refused, the search starts from the best-rewarded of it and
    `n_samples` samples, the first of equals.

    A sampled token need not be its latent's argmax. So a token changes where its latent comes to read otherwise, and stays else.
    """

    @staticmethod
    def starts(cots, policy, problems, prompts, reward, config):
        answers = [[(cot, score)] for cot, score in zip(cots, _judged(cots, policy, problems, reward, config), strict=True)]
        left = [i for i, ((_, score),) in enumerate(answers) if score.value <= config.reward_threshold]
        for sample in range(config.n_samples if left else 0):
            how = {"temperature": config.temperature, "after": [cots[i].memory for i in left]}
            seeds = [seed_of(config.seed, problems[i].id, "start", sample) for i in left]
            drawn = config.rules.first_answers(policy, [prompts[i] for i in left], config, seed=seeds, **how)
            scores = _judged(drawn, policy, [problems[i] for i in left], reward, config)
            for i, *new in zip(left, drawn, scores, strict=True):
                answers[i].append(tuple(new))
        return [_best_start(pairs) for pairs in answers]

    def __init__(self, search):
        super().__init__(search)
        self.seen = super().read()

    def read(self):
        before, self.seen = self.seen, super().read()
        readings = zip(self.search.tokens, before, self.seen, strict=True)
        return [new if new != old else token for token, old, new in readings]


def _judged(answers, policy, problems, reward, config) -> list[Score]:
    texts = [policy.decode_text(answer.token_ids, special_tokens=config.rules.special_tokens) for answer in answers]
    return scores_of(reward, problems, texts)


def _best_start(pairs: list[tuple[Completion, Score]]) -> Start:
    best, _ = max(pairs, key=lambda pair: pair[1].value)  # the first of equals
    return best, sum(c.decoded for c, _ in pairs) - best.decoded, sum(score.tokens for _, score in pairs)


class Drawn(Plain):
    """x_t ~ π(· | z_t) rather than its argmax: the opening is sampled from the moved latents."""

    def read(self):
        return draw_tokens(self.distribution(self.search.latents), self.generator("reading"))[0].tolist()


class DrawnRest(Plain):
    """The rest of each answer behind the chain of thought is sampled, at `temperature`, anew in each iteration."""

    @staticmethod
    def rest_temperature(config):
        return config.temperature


OPTIMISERS = {"sampled": Sampled, "group": Group, "ppo": Ppo, "harvest": Harvest, "kl": Kl}
OPTIMISERS |= {"ascent": Ascent, "normalised": Normalised, "scaled": Scaled, "joint": Joint}
OPTIMISERS |= {"drawn": Drawn, "drawn_rest": DrawnRest}
