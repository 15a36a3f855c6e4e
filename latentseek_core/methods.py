"""Ways to answer a problem, with one signature and one registry.

A method takes `(policy, problems, reward, config, options)` and yields lists of `Outcome`, one for each problem in all: those that
became known together, as soon as they are known. What an outcome cost is counted the same way for all: tokens of the prompt, tokens decoded for answers, tokens
decoded by the reward's model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .policy import BATCH_SIZE, Policy
from .problems import Problem
from .prompts import render_prompt
from .rewards import Reward, as_score
from .seek import SeekResult, iterate_results
from .settings import SeekConfig


@dataclass(frozen=True)
class Options:
    """What all methods share.

    Attributes:
        prompt: the solver prompt.
        temperature: of sampled answers; greedy ones don't ask.
        batch_size: problems answered together.
    """

    prompt: str | Path = "boxed"
    temperature: float = 1.0
    batch_size: int = BATCH_SIZE


@dataclass(frozen=True)
class Outcome:
    """The answer of one method to one problem, and what it took.

    `steps` has a row for each answer looked at: iteration, reward, checks, tokens, and what changed.
    """

    problem_id: str
    answer_text: str
    n_iterations: int
    prompt_tokens: int
    answer_tokens: int
    verifier_tokens: int
    steps: list[dict] = field(default_factory=list)


Method = Callable[[Policy, Sequence[Problem], Reward | None, SeekConfig, Options], Iterator[list[Outcome]]]


def _prompt_ids(policy: Policy, problem: Problem, options: Options) -> list[int]:
    return policy.encode(render_prompt(problem, style=options.prompt, folder=policy.folder))


def _batches(problems: Sequence[Problem], size: int) -> Iterator[Sequence[Problem]]:
    return (problems[start : start + size] for start in range(0, len(problems), size))


def cot(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """Chain of thought: one greedy answer (eq. 9)."""
    for batch in _batches(problems, options.batch_size):
        prompts = [_prompt_ids(policy, problem, options) for problem in batch]
        completions = policy.generate(prompts, max_new_tokens=config.max_new_tokens)
        yield [
            Outcome(problem.id, policy.decode_text(c.token_ids), 0, len(prompt), c.decoded, 0)
            for problem, prompt, c in zip(batch, prompts, completions, strict=True)
        ]


def latentseek(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """The search of `seek.py` (Algorithm 1)."""
    for finished in iterate_results(policy, problems, reward, config, prompt=options.prompt, batch_size=options.batch_size):
        yield [_outcome(result) for _, result in finished]


def _outcome(result: SeekResult) -> Outcome:
    shown = (
        "iteration",
        "reward",
        "checks",
        "answer_text",
        "changed",
        "loss",
        "latent_norm",
        "decoded_tokens",
        "verifier_tokens",
    )
    return Outcome(
        result.problem_id,
        result.answer_text,
        result.n_iterations,
        result.prompt_tokens,
        sum(step.decoded_tokens for step in result.steps),
        sum(step.verifier_tokens for step in result.steps),
        [{name: getattr(step, name) for name in shown} for step in result.steps],
    )


def resample(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """The token-space twin of a stopping rule: a greedy answer, then fresh samples until the reward passes τ, at most K of them.

    It looks at the same number of answers as LatentSeek with the same stop, and shares nothing else with it: what it reaches is due
    to the reward's knowledge alone. The last answer is returned, as there.
    """
    for batch in _batches(problems, options.batch_size):
        prompts = {problem.id: _prompt_ids(policy, problem, options) for problem in batch}
        steps: dict[str, list[dict]] = {problem.id: [] for problem in batch}
        running = list(batch)
        for attempt in range(config.max_iterations + 1):
            completions = policy.generate(
                [prompts[problem.id] for problem in running],
                max_new_tokens=config.max_new_tokens,
                temperature=options.temperature if attempt else 0.0,
                seed=config.seed * 1_000_003 + attempt,
            )
            answers = [policy.decode_text(c.token_ids) for c in completions]
            for problem, c, text, score in zip(
                running, completions, answers, map(as_score, reward(running, answers)), strict=True
            ):
                tokens = {"decoded_tokens": c.decoded, "verifier_tokens": score.tokens}
                row = {"iteration": attempt, "reward": score.value, "checks": score.checks, "answer_text": text}
                steps[problem.id].append(row | tokens)
            last = attempt == config.max_iterations
            ended = [p for p in running if last or steps[p.id][-1]["reward"] > config.reward_threshold]
            yield [_resampled(problem.id, steps[problem.id], len(prompts[problem.id])) for problem in ended]
            running = [problem for problem in running if problem not in ended]
            if not running:
                break


def _resampled(problem_id: str, rows: list[dict], prompt_tokens: int) -> Outcome:
    spent = [sum(row[name] for row in rows) for name in ("decoded_tokens", "verifier_tokens")]
    return Outcome(problem_id, rows[-1]["answer_text"], len(rows) - 1, prompt_tokens, *spent, rows)


METHODS: dict[str, Method] = {"cot": cot, "latentseek": latentseek, "resample": resample}
