"""LatentSeek (Algorithm 1 of arXiv 2505.13308): policy gradient on the latents of one answer, the model left as it is::

    x, z ← chain of thought;  r ← R(x, c)                      step 0
    while k ≤ K and r ≤ τ:
        z_t ← z_t + η r ∇ log π(x_t | z_t)       t ≤ ρT        eq. 7, with the one sample x
        x_t ← argmax π(· | z_t)                  t ≤ ρT        the new opening
        x   ← its continuation, decoded as usual               the backbone's only work
        r   ← R(x, c)                                          step k

A reward below zero makes the tokens that were chosen less likely, until others take their place.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from .policy import BATCH_SIZE, Policy, seed_of
from .problems import Problem
from .prompts import render_prompt
from .rewards import Reward, Score, scores_of
from .settings import OPTIMIZERS, SeekConfig
from .steps import SeekResult, SeekStep
from .variants import Start


class _Search:
    """The state of one problem's search: c, z and its optimiser, the latest step, and the answers known so far."""

    def __init__(self, problem: Problem, prompt: list[int], start: Start, policy: Policy, config: SeekConfig):
        cot, *self.aside = start  # the answer to start from; the tokens decoded and those of verdicts spent on the side
        self.problem, self.prompt, self.policy, self.config, self.rules = problem, prompt, policy, config, config.rules
        length = len(cot.token_ids)  # T
        self.n_latents, first = config.n_latents(length), config.first_latent(length)  # N
        self.end = first + self.n_latents
        self.fixed, self.tokens = cot.token_ids[:first], cot.token_ids[first : self.end]  # before z; x_1..x_N as read off z
        self.latents = self.rules.latents(cot.latents[first : self.end]).requires_grad_(self.n_latents > 0)
        self.optimizer = OPTIMIZERS[config.optimizer]([self.latents], lr=config.learning_rate)
        self.memory, self.known = cot.memory, {}  # what the model has read last; the answers by their openings
        self.answer_ids, self.decoded, self.loss, self.changed = cot.token_ids, cot.decoded, None, []
        self.steps: list[SeekStep] = []
        if self.rules.reuses_chain_of_thought:
            self.known[self.key(self.prefix)] = cot.token_ids
        self.variant = config.parts(self)

    def opening(self, tokens: list[int]) -> list[int]:
        """How an answer begins whose latents read as these tokens."""
        return self.rules.prefix(self.policy, self.fixed + tokens)

    @property
    def prefix(self) -> list[int]:
        return self.opening(self.tokens)

    def text(self, answer_ids: list[int]) -> str:
        return self.policy.decode_text(answer_ids, special_tokens=self.rules.special_tokens)

    def seed(self, purpose: str) -> int:
        """For what is drawn in this iteration; nothing else in a batch matters to it."""
        return seed_of(self.config.seed, self.problem.id, len(self.steps), purpose)

    def update(self) -> None:
        """z ← z + η ∇J, then x_t ← argmax π(· | z_t)."""
        for _ in range(self.variant.epochs):
            self.optimizer.zero_grad()
            loss = -self.variant.objective()  # J = r Σ log π(x_t | z_t), eq. 7
            loss.backward()
            if self.config.grad_clip:
                torch.nn.utils.clip_grad_norm_([self.latents], self.config.grad_clip)
            with torch.no_grad():
                self.variant.move()
        with torch.no_grad():
            tokens = self.variant.read()
        first = len(self.fixed)
        self.changed = [first + t for t in range(self.n_latents) if tokens[t] != self.tokens[t]]
        self.tokens, self.loss = tokens, loss.item()

    def key(self, opening: list[int]) -> tuple:
        """What an answer depends on: its opening, and the draws where its rest is sampled."""
        return tuple(opening), self.seed("rest") if self.config.rest_temperature else None

    def knows(self, opening: list[int]) -> bool:
        """An opening seen before has a known answer; so has one that ends by itself."""
        if len(opening) < self.end or (self.rules.reuses_chain_of_thought and opening[-1] in self.policy.stop_ids):
            self.known[self.key(opening)] = opening
        return self.key(opening) in self.known

    def record(self, score: Score, keep_latents: bool) -> None:
        z, answer = self.latents.detach(), (self.answer_ids, self.text(self.answer_ids))
        judged, moved = (score.value, score.checks), (self.loss, z.float().norm().item(), self.changed)
        spent, kept = (self.decoded + self.aside[0], score.tokens + self.aside[1]), z.clone() if keep_latents else None
        self.steps.append(SeekStep(len(self.steps), self.prefix, *answer, *judged, *moved, *spent, kept))
        self.aside = [0, 0]

    @property
    def stopped(self) -> str | None:
        if self.n_latents == 0:
            return "no_latents"
        if len(self.steps) > self.variant.iterations:
            return "max_iterations"
        return "threshold" if self.variant.accepts() else None  # r > τ

    def result(self) -> SeekResult:
        best, n_iterations = self.steps[self.variant.chosen()], len(self.steps) - 1
        steps, n, prompt = self.steps, self.n_latents, len(self.prompt)
        return SeekResult(self.problem.id, steps, best.answer_text, best.answer_ids, n_iterations, n, self.stopped, prompt)


def _search(
    policy: Policy, problems: Sequence[Problem], prompts: list[list[int]], reward: Reward, config: SeekConfig, keep_latents=False
):
    """Algorithm 1 on a batch of problems; yields those still running, `(index, search)` each, after each step."""
    cots = config.rules.first_answers(policy, prompts, config)
    starts = config.parts.starts(cots, policy, problems, prompts, reward, config)
    running = [(i, _Search(*each, policy, config)) for i, each in enumerate(zip(problems, prompts, starts, strict=True))]
    while running:
        texts = [s.text(s.answer_ids) for _, s in running]
        scores = scores_of(reward, [s.problem for _, s in running], texts)  # r ← R(x, c)
        for (_, search), score in zip(running, scores, strict=True):
            search.record(score, keep_latents)
        yield running
        running = [(index, search) for index, search in running if search.stopped is None]
        if searches := [search for _, search in running]:
            config.parts.prepare(searches, reward, _continue)
        for search in searches:
            search.update()
        for search, (answer, decoded) in zip(searches, _continue([(s, s.prefix) for s in searches]), strict=True):
            search.answer_ids, search.decoded = answer, decoded


def _continue(asked: list[tuple[_Search, list[int]]]) -> list[tuple[list[int], int]]:
    """The answers behind openings by ordinary decoding, each with the tokens decoded for it: none where it was known already."""
    new = {(id(search), *opening): (search, opening) for search, opening in asked if not search.knows(opening)}
    spent = {}
    if new:
        searches, openings = zip(*new.values(), strict=True)
        rules, prompts = searches[0].rules, [search.prompt for search in searches]
        ends, seeds = [search.end for search in searches], [search.seed("rest") for search in searches]
        memories = [search.memory for search in searches]
        completions = rules.later_answers(searches[0].policy, prompts, openings, ends, searches[0].config, seeds, memories)
        for place, search, opening, completion in zip(new, searches, openings, completions, strict=True):
            search.known[search.key(opening)], search.memory = completion.token_ids, completion.memory
            spent[place] = completion.decoded
    return [(search.known[search.key(opening)], spent.pop((id(search), *opening), 0)) for search, opening in asked]


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
