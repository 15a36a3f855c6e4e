"""Rivals of LatentSeek that need no training either: SLOT, LTPO, Soft Thinking; in the shape of the other methods (`methods.py`).

None asks a reward or looks at more than one answer. All decode greedily with the model's cache, and what they forward is counted as
everywhere. η and the number of steps are `learning_rate` and `max_iterations`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from .attempts import Attempts, Options, Outcome, batches
from .policy import Completion, Policy, seed_of
from .problems import Problem
from .prompts import fill, load_prompt, render_prompt
from .rewards import Reward
from .settings import SeekConfig
from .signals import TOP, confidence


def slot(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """SLOT (Hu et al., arXiv 2505.12392): one vector δ, fitted so that the model predicts the prompt better, is added to every latent
    while the answer is decoded. The paper takes 3 steps at η = 0.01, its code 5 at 0.1 on GSM8K."""
    for batch in batches(problems, options.batch_size):
        attempts = [Attempts(policy, problem, options) for problem in batch]
        prompts = [a.prompt for a in attempts]
        # A prompt read as the continuation of its first token gives h_1..h_{P−1}; what was read is not read again for the answer.
        lengths = [len(ids) - 1 for ids in prompts]
        kept = {"max_new_tokens": lengths, "keep_latents": True, "remember": max(lengths)}
        read = policy.generate([ids[:1] for ids in prompts], forced=[ids[1:] for ids in prompts], **kept)
        shift = torch.stack([fit_shift(policy, c.latents, c.token_ids, config) for c in read])
        memories = [c.memory for c in read]
        answers = policy.generate(prompts, max_new_tokens=config.max_new_tokens, shift=shift, after=memories)
        yield _outcomes(attempts, answers)


@torch.enable_grad()
def fit_shift(policy: Policy, latents: torch.Tensor, tokens: Sequence[int], config: SeekConfig) -> torch.Tensor:
    """δ = argmin −(1/(P−1)) Σ_t log softmax(W(h_t + δ))_{x_{t+1}}, a few steps of AdamW from 0: `[hidden]`, in float32.

    Args:
        latents: h_1..h_{P−1}, `[P − 1, hidden]`.
        tokens: x_2..x_P.
    """
    states, targets = latents.float(), torch.tensor(tokens, device=latents.device)
    shift = torch.zeros_like(states[0], requires_grad=True)
    optimizer = torch.optim.AdamW([shift], lr=config.learning_rate, weight_decay=1e-8, eps=1e-5)
    for _ in range(config.max_iterations):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(policy.head(states + shift), targets.to(states.device)).backward()
        optimizer.step()
    return shift.detach()


def ltpo(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """LTPO (Ye, Liang & Shan, arXiv 2510.04182): the input embeddings H of k placeholders behind the question are searched for those
    at which the model is most confident; then one answer is decoded behind them.

        A = H + ε, ε ~ N(0, σ² I);   H ← H + η R(A) ε / σ²;   σ ← γ σ;   kept is the H made by the step with the highest R(A)

    R is `confidence` at the placeholders and one place behind. k = `n_thoughts`, σ = `sigma`, γ = `sigma_decay`; the defaults, η and
    the steps included, are those of the authors' code. The placeholder is the tokenizer's unknown token, else its padding, else its
    end (they take a reserved one of Llama's); the words around it, in `prompts/ltpo.yaml`, are ours, and `thoughts` names others.
    """
    for batch in batches(problems, options.batch_size):
        attempts, heads, tails = [Attempts(policy, problem, options) for problem in batch], [], []
        for attempt in attempts:
            head, tail = _around_thoughts(policy, attempt.problem, options)
            attempt.prompt, attempt.prompt_tokens = head + tail, len(head + tail)
            heads.append(head)
            tails.append(tail)
        opened = policy.generate(heads, max_new_tokens=0, remember=0)
        how = {"forced": tails, "after": [c.memory for c in opened]}
        start = policy.embed(torch.tensor(tails[0][: options.n_thoughts], device=policy.device)).float()
        generators = [torch.Generator().manual_seed(seed_of(config.seed, problem.id, "ltpo")) for problem in batch]
        thoughts = search_thoughts(partial(_confidences, policy, heads, how), start, generators, config, options)
        limits = [len(tail) + config.max_new_tokens for tail in tails]
        answers = policy.generate(heads, max_new_tokens=limits, embedded=thoughts, **how)
        yield _outcomes(attempts, [_behind(answer, len(tail)) for answer, tail in zip(answers, tails, strict=True)])


def search_thoughts(
    confidences: Callable[[list[torch.Tensor]], list[float]],
    start: torch.Tensor,
    generators: Sequence[torch.Generator],
    config: SeekConfig,
    options: Options,
) -> list[torch.Tensor]:
    """LTPO's search for a batch: H for each generator, `[k, hidden]`.

    Args:
        confidences: from candidates A, `[k, hidden]` each, to R(A) of each.
        start: the placeholders' own embeddings.
    """
    thoughts, sigma = [start.clone() for _ in generators], options.sigma
    best = [(-math.inf, h) for h in thoughts]
    for _ in range(config.max_iterations):
        noise = [sigma * torch.randn(start.shape, generator=g).to(start) for g in generators]
        rewards = confidences([h + e for h, e in zip(thoughts, noise, strict=True)])
        steps = [config.learning_rate * r * e / sigma**2 for r, e in zip(rewards, noise, strict=True)]
        thoughts = [h + step for h, step in zip(thoughts, steps, strict=True)]
        best = [(r, h) if r > b[0] else b for r, h, b in zip(rewards, thoughts, best, strict=True)]
        sigma *= options.sigma_decay
    return [h for _, h in best]


def _around_thoughts(policy: Policy, problem: Problem, options: Options) -> tuple[list[int], list[int]]:
    """The prompt up to the placeholders, and from them on."""
    text = load_prompt(options.thoughts, policy.folder)
    messages = render_prompt(problem, style=options.prompt, folder=policy.folder)
    messages[-1]["content"] += fill(text["note"], {"count": str(options.n_thoughts)}) + text["place"]
    before, _, after = policy.render(messages).partition(text["place"])
    ids = [policy.tokenizer.unk_token_id, policy.tokenizer.pad_token_id, *policy.stop_ids]
    placeholder = next(i for i in ids if i is not None)
    special = not policy.tokenizer.chat_template  # a template writes its own
    head = policy.tokenizer(before, add_special_tokens=special)["input_ids"]
    tail = policy.tokenizer(after, add_special_tokens=False)["input_ids"]
    return head, [placeholder] * options.n_thoughts + tail


def _confidences(policy: Policy, heads, how, candidates: list[torch.Tensor]) -> list[float]:
    """R(A) of each problem's candidate, at its k placeholders and one place behind."""
    k = len(candidates[0])
    limits = [len(tail) + 1 for tail in how["forced"]]  # the state behind the last forced token is the next one's
    read = policy.generate(heads, max_new_tokens=limits, keep_latents=k + 2, embedded=candidates, **how)
    places = [c.latents[1 : k + 2] for c in read]  # z_t is the state one place before x_t
    return [confidence(policy.head(z).double().log_softmax(-1), TOP).item() for z in places]


def _behind(answer: Completion, length: int) -> Completion:
    return Completion(answer.token_ids[length:], None, answer.finished, answer.decoded)


def soft_thinking(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """Soft Thinking (arXiv 2505.15778): the model reads on from the mean embedding Σ_v p(v) e(v) of its next token rather than from
    one token's; the answer is what the likeliest tokens say.

    Once the entropy of p has been below `cold_entropy` for `cold_steps` tokens in a row (cold stop), it goes on from tokens. Where
    the authors' models then close their thinking and answer anew, there is one answer here. p is taken at `temperature`, unfiltered.
    """
    for batch in batches(problems, options.batch_size):
        attempts, soft = [Attempts(policy, problem, options) for problem in batch], SoftTokens(policy, options)
        answers = policy.generate([a.prompt for a in attempts], max_new_tokens=config.max_new_tokens, feed=soft)
        yield _outcomes(attempts, answers)


class SoftTokens:
    """What a batch reads next, from the logits of each row's last token: mean embeddings until the cold stop."""

    def __init__(self, policy: Policy, options: Options):
        self.options, self.calm = options, {}  # how many tokens in a row were nearly certain, by row
        self.table = policy.embed(torch.arange(policy.head_module.weight.shape[0], device=policy.device))  # e(v)

    def __call__(self, logits: torch.Tensor, rows: list[tuple[int, int]]) -> torch.Tensor:
        logs = (logits.double() / self.options.temperature).log_softmax(-1).to(self.table.device)
        entropies = -(logs.exp() * logs).sum(-1)
        soft, hard = logs.exp().to(self.table.dtype) @ self.table, self.table[logs.argmax(-1)]
        cold = [self._is_cold(*row, entropy) for row, entropy in zip(rows, entropies.tolist(), strict=True)]
        return torch.where(torch.tensor(cold, device=soft.device)[:, None], hard, soft)

    def _is_cold(self, row: int, length: int, entropy: float) -> bool:
        calm = 0 if length == 1 else self.calm[row]  # an answer may be begun anew
        if calm < self.options.cold_steps:
            calm = calm + 1 if entropy < self.options.cold_entropy else 0
        self.calm[row] = calm
        return calm >= self.options.cold_steps


def _outcomes(attempts: list[Attempts], answers: list[Completion]) -> list[Outcome]:
    for attempt, answer in zip(attempts, answers, strict=True):
        attempt.add(answer)
    return [attempt.outcome() for attempt in attempts]
