"""LatentSeek (Algorithm 1 of arXiv 2505.13308): policy gradient on the latents of one answer, the model left as it is.

    x, z ← chain of thought;  r ← R(x, c)                      step 0
    while k ≤ K and r ≤ τ:
        z_t ← z_t + η r ∇ log π(x_t | z_t)       t ≤ ρT        eq. 7, with the one sample x
        x_t ← argmax π(· | z_t)                  t ≤ ρT        the new opening
        x   ← its continuation, decoded as usual               the backbone's only work
        r   ← R(x, c)                                          step k

A reward below zero makes the tokens that were chosen less likely, until others take their place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from .policy import BATCH_SIZE, Completion, Policy
from .problems import Problem
from .prompts import render_prompt
from .rewards import Reward, Score, scores_of
from .settings import OPTIMIZERS, SeekConfig


@dataclass(frozen=True, eq=False)
class SeekStep:
    """What one iteration did; step 0 is the chain of thought.

    Attributes:
        prefix_ids: the answer's first tokens, those read off the latents.
        answer_ids: the whole answer, prefix included.
        answer_text: without special tokens (with them under `reference`).
        reward: R(x, c).
        checks: the reward's verdicts by name; None where one could not be read.
        loss: −r Σ log π(x_t | z_t), the value descended on; None at step 0.
        latent_norm: Frobenius norm of z after the update.
        changed: positions whose token differs from the step before.
        decoded_tokens: tokens decoded for this step; 0 where an answer was known already.
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
    more) or `no_latents` (ρT < 1); `latent_length` is N, `prompt_tokens` |c|."""

    problem_id: str
    steps: list[SeekStep]
    answer_text: str
    answer_ids: list[int]
    n_iterations: int
    latent_length: int
    stopped: str
    prompt_tokens: int


class _Search:
    """The state of one problem's search: c, z and its optimiser, the latest step, and the answers known so far."""

    def __init__(self, problem: Problem, prompt: list[int], cot: Completion, policy: Policy, config: SeekConfig):
        self.problem, self.prompt, self.policy, self.config, self.rules = problem, prompt, policy, config, config.rules
        self.n_latents = config.n_latents(len(cot.token_ids))  # N
        self.tokens = cot.token_ids[: self.n_latents]  # x_1..x_N as read off z
        self.latents = self.rules.latents(cot.latents[: self.n_latents]).requires_grad_(self.n_latents > 0)
        self.optimizer = OPTIMIZERS[config.optimizer]([self.latents], lr=config.learning_rate)
        self.memory, self.known = cot.memory, {}  # what the model has read last; the answers by their openings
        self.answer_ids, self.decoded, self.loss, self.changed = cot.token_ids, cot.decoded, None, []
        if self.rules.reuses_chain_of_thought:
            self.known[tuple(self.prefix)] = cot.token_ids
        self.steps: list[SeekStep] = []

    @property
    def prefix(self) -> list[int]:
        return self.rules.prefix(self.policy, self.tokens)

    @property
    def answer_text(self) -> str:
        return self.policy.decode_text(self.answer_ids, special_tokens=self.rules.special_tokens)

    def update(self) -> None:
        """z ← z + η ∇J, then x_t ← argmax π(· | z_t)."""
        self.optimizer.zero_grad()
        loss = -self.steps[-1].reward * self.rules.log_probability(self.policy, self.latents, self.prefix)  # eq. 7
        loss.backward()
        if self.config.grad_clip:
            torch.nn.utils.clip_grad_norm_([self.latents], self.config.grad_clip)
        self.optimizer.step()
        with torch.no_grad():
            tokens = self.rules.read(self.policy, self.latents)
        self.changed = [t for t in range(self.n_latents) if tokens[t] != self.tokens[t]]
        self.tokens, self.loss = tokens, loss.item()

    def take_known_answer(self) -> bool:
        """An unchanged opening, or one seen before, has a known answer; so has one that ends by itself."""
        prefix = self.prefix
        if len(prefix) < self.n_latents or (self.rules.reuses_chain_of_thought and prefix[-1] in self.policy.stop_ids):
            self.known[tuple(prefix)] = prefix
        self.answer_ids, self.decoded = self.known.get(tuple(prefix), []), 0
        return bool(self.answer_ids)

    def record(self, score: Score, keep_latents: bool) -> None:
        z, answer = self.latents.detach(), (self.answer_ids, self.answer_text)
        judged, moved = (score.value, score.checks), (self.loss, z.float().norm().item(), self.changed)
        spent, kept = (self.decoded, score.tokens), z.clone() if keep_latents else None
        self.steps.append(SeekStep(len(self.steps), self.prefix, *answer, *judged, *moved, *spent, kept))

    @property
    def stopped(self) -> str | None:
        if self.n_latents == 0:
            return "no_latents"
        if len(self.steps) > self.config.max_iterations:
            return "max_iterations"
        return "threshold" if self.steps[-1].reward > self.config.reward_threshold else None

    def result(self) -> SeekResult:
        last, n_iterations = self.steps[-1], len(self.steps) - 1
        steps, n, prompt = self.steps, self.n_latents, len(self.prompt)
        return SeekResult(self.problem.id, steps, last.answer_text, last.answer_ids, n_iterations, n, self.stopped, prompt)


def _search(
    policy: Policy, problems: Sequence[Problem], prompts: list[list[int]], reward: Reward, config: SeekConfig, keep_latents=False
):
    """Algorithm 1 on a batch of problems; yields those still running, `(index, search)` each, after each step."""
    rules = config.rules
    limit, stops = rules.first_limit(config), rules.first_stops(policy)
    kept = {"keep_latents": config.max_latents, "remember": config.max_latents, "bare_head": rules.bare_head}
    cots = policy.generate(prompts, max_new_tokens=limit, stop_ids=stops, **kept)
    cots = rules.read_again(policy, prompts, cots, config)
    running = [(i, _Search(*each, policy, config)) for i, each in enumerate(zip(problems, prompts, cots, strict=True))]
    while running:
        scores = scores_of(reward, [s.problem for _, s in running], [s.answer_text for _, s in running])  # r ← R(x, c)
        for (_, search), score in zip(running, scores, strict=True):
            search.record(score, keep_latents)
        yield running
        running = [(index, search) for index, search in running if search.stopped is None]
        for _, search in running:
            search.update()
        _continue(policy, [search for _, search in running if not search.take_known_answer()], config)


def _continue(policy: Policy, searches: list[_Search], config: SeekConfig) -> None:
    """Ordinary decoding behind the new openings."""
    if not searches:
        return
    completions = policy.generate(
        [search.prompt for search in searches],
        forced=[search.prefix for search in searches],
        max_new_tokens=[config.rules.later_limit(config, search.n_latents) for search in searches],
        stop_ids=config.rules.later_stops(policy),
        bare_head=config.rules.bare_head,
        after=[search.memory for search in searches],
        remember=config.max_latents,
    )
    for search, completion in zip(searches, completions, strict=True):
        search.answer_ids, search.decoded, search.memory = completion.token_ids, completion.decoded, completion.memory
        search.known[tuple(search.prefix)] = completion.token_ids


def _prompts(policy, problems, config, prompt, prompt_ids) -> list[list[int]]:
    if prompt_ids is not None:
        return [list(ids) for ids in prompt_ids]
    return [config.rules.encode(policy, render_prompt(problem, style=prompt, folder=policy.folder)) for problem in problems]


def iterate_results(
    policy: Policy,
    problems: Sequence[Problem],
    reward: Reward,
    config: SeekConfig,
    *,
    prompt: str | Path = "boxed",
    prompt_ids: Sequence[Sequence[int]] | None = None,
    batch_size: int | None = None,
) -> Iterator[list[tuple[int, SeekResult]]]:
    """As `seek`, but each result as soon as it is known: after each iteration, those that finished with it, with their places in
    `problems`."""
    prompts = _prompts(policy, problems, config, prompt, prompt_ids)
    size = batch_size or BATCH_SIZE
    for start in range(0, len(problems), size):
        batch = slice(start, start + size)
        for running in _search(policy, problems[batch], prompts[batch], reward, config):
            if finished := [(start + index, search.result()) for index, search in running if search.stopped]:
                yield finished


def seek(
    policy: Policy,
    problems: Sequence[Problem],
    reward: Reward,
    config: SeekConfig,
    *,
    prompt: str | Path = "boxed",
    prompt_ids: Sequence[Sequence[int]] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
) -> list[SeekResult]:
    """Searches for better answers to problems, several at a time; the model's weights are not touched.

    Args:
        reward: R(x, c), called once an iteration for all problems still running, also where an answer did not change.
        prompt: the solver prompt (`render_prompt`).
        prompt_ids: the prompts' token ids, in place of rendered ones.
        batch_size: problems searched together; 64 by default.

    Returns:
        A result for each problem, in order.

    Raises:
        ValueError: unknown prompt, or one that doesn't fit into the model's context.
    """
    results: dict[int, SeekResult] = {}
    options = {"prompt": prompt, "prompt_ids": prompt_ids, "batch_size": batch_size}
    with tqdm(total=len(problems), desc="seek", unit="problem", disable=not progress) as bar:
        for finished in iterate_results(policy, problems, reward, config, **options):
            results |= dict(finished)
            bar.update(len(finished))
    return [results[index] for index in range(len(problems))]


def seek_steps(
    policy: Policy,
    problem: Problem,
    reward: Reward,
    config: SeekConfig,
    *,
    prompt: str | Path = "boxed",
    prompt_ids: Sequence[int] | None = None,
) -> Iterator[SeekStep]:
    """The same search for one problem, a step at a time, each step with its latents."""
    prompts = _prompts(policy, [problem], config, prompt, None if prompt_ids is None else [prompt_ids])
    for ((_, search),) in _search(policy, [problem], prompts, reward, config, keep_latents=True):
        yield search.steps[-1]
