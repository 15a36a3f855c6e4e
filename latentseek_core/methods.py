"""Ways to answer a problem, with one signature and one registry.

A method takes `(policy, problems, reward, config, options)` and yields lists of `Outcome`, one for each problem in all: those that
became known together, as soon as they are known. What an outcome cost is
counted the same way for all: tokens of the prompt, tokens decoded for answers, tokens decoded by the reward's model.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .policy import BATCH_SIZE, Completion, Policy
from .problems import Problem
from .prompts import render_prompt
from .rewards import Reward, Score, as_score
from .seek import SeekResult, iterate_results
from .settings import SeekConfig


@dataclass(frozen=True)
class Options:
    """What all methods share.

    Attributes:
        prompt: the solver prompt.
        temperature: of sampled answers; greedy ones don't ask.
        batch_size: problems answered together.
        token_pool: answer tokens that all problems together may cost; only `resample` asks.
    """

    prompt: str | Path = "boxed"
    temperature: float = 1.0
    batch_size: int = BATCH_SIZE
    token_pool: int | None = None


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
    """The token-space twin of a stopping rule: a greedy answer, then fresh samples until the reward passes τ.

    It shares judge and stop with LatentSeek and nothing else, so what it reaches is due to the judge alone. Problems that are not
    yet done get one more sample each, round after round: K rounds, or, with a token pool, until the pool is spent (its last
    round goes to the first problems only). The last answer is returned, as there.
    """
    batches = [problems] if options.token_pool is not None else _batches(problems, options.batch_size)
    for batch in batches:
        running = [_Resampling(problem, _prompt_ids(policy, problem, options)) for problem in batch]
        attempt, spent, last_round = 0, 0, False
        while running:
            drawn = {"temperature": options.temperature if attempt else 0.0, "seed": config.seed * 1_000_003 + attempt}
            completions = policy.generate([r.prompt for r in running], max_new_tokens=config.max_new_tokens, **drawn)
            answers = [policy.decode_text(c.token_ids) for c in completions]
            scores = reward([r.problem for r in running], answers)
            for r, completion, answer, score in zip(running, completions, answers, scores, strict=True):
                r.add(completion, answer, as_score(score))
                spent += completion.decoded
            attempt += 1
            yield [r.outcome() for r in running if r.passed(config)]
            running = [r for r in running if not r.passed(config)]
            more = (
                0
                if last_round
                else _affordable(options.token_pool, spent, len(running), completions, attempt <= config.max_iterations)
            )
            last_round = more < len(running)
            yield [r.outcome() for r in running[more:]]
            running = running[:more]


def _affordable(pool: int | None, spent: int, wanted: int, completions: Sequence[Completion], rounds_left: bool) -> int:
    """How many of the problems still running get another sample."""
    if pool is None:
        return wanted if rounds_left else 0
    mean = sum(c.decoded for c in completions) / len(completions)
    return min(wanted, max(0, int((pool - spent) / mean)))


class _Resampling:
    """One problem's samples."""

    def __init__(self, problem: Problem, prompt: list[int]):
        self.problem, self.prompt, self.rows = problem, prompt, []

    def add(self, completion: Completion, answer: str, score: Score) -> None:
        judged = {"reward": score.value, "checks": score.checks, "verifier_tokens": score.tokens}
        self.rows.append({"iteration": len(self.rows), "answer_text": answer, "decoded_tokens": completion.decoded} | judged)

    def passed(self, config: SeekConfig) -> bool:
        return self.rows[-1]["reward"] > config.reward_threshold

    def outcome(self) -> Outcome:
        spent = [sum(row[kind] for row in self.rows) for kind in ("decoded_tokens", "verifier_tokens")]
        return Outcome(self.problem.id, self.rows[-1]["answer_text"], len(self.rows) - 1, len(self.prompt), *spent, self.rows)


METHODS: dict[str, Method] = {"cot": cot, "latentseek": latentseek, "resample": resample}
