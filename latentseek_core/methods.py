"""Ways to answer a problem, with one signature and one registry.

A method takes `(policy, problems, reward, config, options)` and yields lists of `Outcome`, one for each problem in all: those that
became known together, as soon as they are known. What an outcome cost is counted the same way for all: tokens of the prompt, tokens decoded for answers, tokens
decoded by the reward's model.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
        budgets: answer tokens that each problem may cost, by id; only `resample` asks.
    """

    prompt: str | Path = "boxed"
    temperature: float = 1.0
    batch_size: int = BATCH_SIZE
    budgets: Mapping[str, int] | None = None


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

    It shares judge and stop with LatentSeek and nothing else, so what it reaches is due to the judge alone. It draws K samples at
    most, or, with budgets, as many as a problem's tokens allow: a sample that the budget cuts off is thrown away. The last whole
    answer is returned, as there.
    """
    for batch in _batches(problems, options.batch_size):
        running = [_Resampling(problem, _prompt_ids(policy, problem, options), config, options) for problem in batch]
        attempt = 0
        while running:
            limits = [r.limit for r in running]
            drawn = {"temperature": options.temperature if attempt else 0.0, "seed": config.seed * 1_000_003 + attempt}
            completions = policy.generate([r.prompt for r in running], max_new_tokens=limits, **drawn)
            whole = [r for r, c in zip(running, completions, strict=True) if r.take(policy, c)]
            scores = reward([r.problem for r in whole], [r.answer_text for r in whole]) if whole else []
            for r, score in zip(whole, scores, strict=True):
                r.judge(as_score(score))
            yield [r.outcome() for r in running if r.ended]
            running, attempt = [r for r in running if not r.ended], attempt + 1


class _Resampling:
    """One problem's samples."""

    def __init__(self, problem: Problem, prompt: list[int], config: SeekConfig, options: Options):
        self.problem, self.prompt, self.config = problem, prompt, config
        self.budget = None if options.budgets is None else options.budgets[problem.id]
        self.rows: list[dict] = []
        self.spent, self.answer_text, self.ended = 0, "", False

    @property
    def limit(self) -> int:
        left = self.config.max_new_tokens if self.budget is None else self.budget - self.spent
        return min(self.config.max_new_tokens, max(1, left))

    def take(self, policy: Policy, completion: Completion) -> bool:
        """Counts a sample; whether it is an answer to be judged, rather than one that the budget cut off."""
        self.spent += completion.decoded
        self.ended = self.budget is not None and self.spent >= self.budget
        cut_off = self.ended and not completion.finished and completion.decoded < self.config.max_new_tokens
        if cut_off and self.rows:
            return False
        self.answer_text = policy.decode_text(completion.token_ids)
        self.rows.append({"iteration": len(self.rows), "answer_text": self.answer_text, "decoded_tokens": completion.decoded})
        return True

    def judge(self, score: Score) -> None:
        self.rows[-1] |= {"reward": score.value, "checks": score.checks, "verifier_tokens": score.tokens}
        out_of_tries = self.budget is None and len(self.rows) > self.config.max_iterations
        self.ended = self.ended or out_of_tries or score.value > self.config.reward_threshold

    def outcome(self) -> Outcome:
        judged = sum(row["verifier_tokens"] for row in self.rows)
        return Outcome(self.problem.id, self.answer_text, len(self.rows) - 1, len(self.prompt), self.spent, judged, self.rows)


METHODS: dict[str, Method] = {"cot": cot, "latentseek": latentseek, "resample": resample}
