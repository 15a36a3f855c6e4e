"""What all ways to answer a problem share: their options, what an answer took, and the answers looked at so far."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .policy import BATCH_SIZE, Completion, Policy
from .problems import Problem
from .prompts import render_prompt
from .rewards import Reward, Score
from .settings import SeekConfig


@dataclass(frozen=True)
class Options:
    """What methods need beside the search settings.

    Attributes:
        prompt: the solver prompt.
        temperature: of sampled answers; greedy ones don't ask.
        batch_size: problems answered together.
        n_samples: N, the answers that `best_of_n` and `self_consistency` draw.
        shots: solved problems that `few_shot` shows before the question.
        token_pool: answer tokens that the problems of a batch together may cost; only `resample` asks.
        n_thoughts, sigma, sigma_decay: of `ltpo`: k, the placeholders; σ of the first step, and γ.
        thoughts: of `ltpo`: `ltpo`, or a YAML file like it, whose note tells the model of the placeholders; `ltpo_bare` has none.
        cold_entropy, cold_steps: of `soft_thinking`: it stops after so many tokens in a row whose entropy, in nats, is below this.
    """

    prompt: str | Path = "boxed"
    temperature: float = 1.0
    batch_size: int = BATCH_SIZE
    n_samples: int = 3
    shots: tuple[Problem, ...] = ()
    token_pool: int | None = None
    n_thoughts: int = 10
    thoughts: str = "ltpo"
    sigma: float = 0.1
    sigma_decay: float = 0.99
    cold_entropy: float = 0.01
    cold_steps: int = 256


@dataclass(frozen=True)
class Outcome:
    """The answer of one method to one problem, and what it took.

    `steps` has a row for each answer looked at: its text and tokens, and where there is one its reward, with checks and what they
    cost. `n_iterations` is the number of answers after the first.
    """

    problem_id: str
    answer_text: str
    n_iterations: int
    prompt_tokens: int
    answer_tokens: int
    verifier_tokens: int
    steps: list[dict] = field(default_factory=list)


Method = Callable[[Policy, Sequence[Problem], Reward | None, SeekConfig, Options], Iterator[list[Outcome]]]


def prompt_ids(policy: Policy, problem: Problem, options: Options) -> list[int]:
    """The tokens that put a problem to the model, worked examples included."""
    messages = render_prompt(problem, style=options.prompt, shots=options.shots, folder=policy.folder)
    return policy.encode(messages)


def batches(problems: Sequence[Problem], size: int) -> Iterator[Sequence[Problem]]:
    return (problems[start : start + size] for start in range(0, len(problems), size))


class Attempts:
    """One problem, and the answers to it that were looked at so far."""

    def __init__(self, policy: Policy, problem: Problem, options: Options):
        self.policy, self.problem, self.prompt = policy, problem, prompt_ids(policy, problem, options)
        self.prompt_tokens, self.rows = len(self.prompt), []

    def add(self, completion: Completion, **more) -> None:
        text = self.policy.decode_text(completion.token_ids)
        row = {"iteration": len(self.rows), "answer_text": text, "decoded_tokens": completion.decoded, "verifier_tokens": 0}
        self.rows.append(row | more)

    def judge(self, score: Score, place: int = -1) -> None:
        """Notes a reward beside one of the answers, the last unless another is meant."""
        self.rows[place] |= {"reward": score.value, "checks": score.checks, "verifier_tokens": score.tokens}

    def passed(self, config: SeekConfig) -> bool:
        return self.rows[-1]["reward"] > config.reward_threshold

    def outcome(self, chosen: int = -1) -> Outcome:
        """The problem's outcome with one of the answers, the last unless another was chosen."""
        spent = [sum(row[kind] for row in self.rows) for kind in ("decoded_tokens", "verifier_tokens")]
        text = self.rows[chosen]["answer_text"]
        return Outcome(self.problem.id, text, len(self.rows) - 1, self.prompt_tokens, *spent, self.rows)
