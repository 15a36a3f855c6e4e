"""Rewards R(x, c): what the search follows, and what stops it.

A reward is any callable `(problems, answers) -> scores`; a score is a `Score` or a plain number. Rewards add up:
`SelfReward(policy) + FormatReward()`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
import transformers

from .answers import extract_answer, is_correct
from .hub import offline_if_unreachable
from .policy import MODELS_FOLDER, Completion, Policy, shared_length
from .problems import Problem
from .prompts import prompt_style, render_checks, verifier_prompt


@dataclass(frozen=True)
class Score:
    """A reward with its reasons.

    Attributes:
        value: the reward.
        checks: verdicts by name; None where a verdict could not be read.
        tokens: what a model wrote to arrive at it; 0 where it was remembered.
    """

    value: float
    checks: dict[str, bool | None] = field(default_factory=dict)
    tokens: int = 0


class Reward(Protocol):
    def __call__(self, problems: Sequence[Problem], answers: Sequence[str]) -> Sequence[Score | float]: ...


def as_score(score: Score | float) -> Score:
    return score if isinstance(score, Score) else Score(float(score))


def scores_of(reward: Reward, problems: Sequence[Problem], answers: Sequence[str]) -> list[Score]:
    """A reward's scores, one for each answer, each a number.

    Raises:
        ValueError: it gave no list, another count of scores, or something that is no finite number.
    """
    name, given = getattr(reward, "__name__", type(reward).__name__), reward(problems, answers)
    try:
        scores = list(given)
    except TypeError as error:
        raise ValueError(f"reward {name} gave {given!r}; it must give a list, a number for each answer") from error
    if len(scores) != len(answers):
        raise ValueError(f"reward {name} gave {len(scores)} scores for {len(answers)} answers; it must give one for each")
    try:
        scores = [as_score(score) for score in scores]
    except (TypeError, ValueError) as error:
        raise ValueError(f"reward {name} gave something that is no number: {error}") from error
    if bad := [problem.id for problem, score in zip(problems, scores, strict=True) if not math.isfinite(score.value)]:
        raise ValueError(f"reward {name} gave a score that is no finite number for problem {bad[0]}")
    return scores


class _Addable:
    def __add__(self, other: Reward) -> "SumOfRewards":
        return SumOfRewards([self, other])


class SumOfRewards(_Addable):
    """The sum of several rewards."""

    def __init__(self, rewards: Sequence[Reward]):
        self.rewards = rewards

    def __call__(self, problems, answers):
        columns = [scores_of(reward, problems, answers) for reward in self.rewards]
        return [_add(scores) for scores in zip(*columns, strict=True)]


def _add(scores: Sequence[Score]) -> Score:
    checks = {name: verdict for score in scores for name, verdict in score.checks.items()}
    return Score(sum(s.value for s in scores), checks, sum(s.tokens for s in scores))


class SelfReward(_Addable):
    """The model judges its own answer by four yes-or-no checks (section 3.1 of the paper).

    R = −(weights of failed checks) / (sum of weights), in [−1, 0]; the weights are 1, 1, 2, 2 unless given by name. Verdicts are
    read from the model's reply alone, greedily decoded. A verdict that can't be read counts as failed, or as passed with
    `unreadable_passes`. An answer that was judged before is not judged again.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        weights: Mapping[str, float] | None = None,
        max_new_tokens: int = 512,
        prompt: str | Path = "verifiers",
        unreadable_passes: bool = False,
    ):
        self.policy, self.max_new_tokens, self.unreadable_passes = policy, max_new_tokens, unreadable_passes
        self.prompt = verifier_prompt(prompt, policy.folder)
        own = {name: check["weight"] for name, check in self.prompt["checks"].items()}
        if unknown := set(weights or {}) - set(own):
            raise ValueError(f"unknown check {sorted(unknown)[0]!r} in SelfReward's weights; the checks are {', '.join(own)}")
        self.weights = own | dict(weights or {})
        self._known: dict[tuple[str, str], dict[str, bool | None]] = {}

    def __call__(self, problems: Sequence[Problem], answers: Sequence[str]) -> list[Score]:
        asked = {(p.question, a): (p, a) for p, a in zip(problems, answers, strict=True)}
        new = {key: pair for key, pair in asked.items() if key not in self._known}
        tokens = dict(zip(new, self._judge(list(new.values())), strict=True)) if new else {}
        scores = []
        for problem, answer in zip(problems, answers, strict=True):
            key = (problem.question, answer)
            checks = self._known[key]
            scores.append(Score(self.value(checks), dict(checks), tokens.pop(key, 0)))
        return scores

    def value(self, checks: Mapping[str, bool | None]) -> float:
        """The reward of a set of verdicts."""
        failed = sum(
            self.weights[name] for name, verdict in checks.items() if not (self.unreadable_passes if verdict is None else verdict)
        )
        return -failed / sum(self.weights.values())

    def replies(self, problem: Problem, answer: str) -> dict[str, str]:
        """What the model says at each check, for readers who want to see it."""
        prompts = [self.policy.encode(m) for m in render_checks(problem, answer, self.prompt).values()]
        completions = self.policy.generate(prompts, max_new_tokens=self.max_new_tokens)
        texts = [self.policy.decode_text(c.token_ids) for c in completions]
        return dict(zip(self.prompt["checks"], texts, strict=True))

    def _judge(self, pairs: list[tuple[Problem, str]]) -> list[int]:
        """Remembers the verdicts on new answers; returns the tokens written for each."""
        groups = [[self.policy.encode(m) for m in render_checks(*pair, self.prompt).values()] for pair in pairs]
        room = self.policy.context_length or 2**31
        # An endless answer may leave no room to judge it.
        groups = [group if max(map(len, group)) < room else [] for group in groups]
        completions = iter(self._reply([group for group in groups if group]))
        spent = []
        for (problem, answer), group in zip(pairs, groups, strict=True):
            mine = [next(completions) for _ in group]
            verdicts = [read_verdict(self.policy.decode_text(c.token_ids), self.prompt["verdict"]) for c in mine]
            self._known[problem.question, answer] = dict.fromkeys(self.prompt["checks"]) | dict(
                zip(self.weights, verdicts, strict=False)
            )
            spent.append(sum(c.decoded for c in mine))
        return spent

    def _reply(self, groups: list[list[list[int]]]) -> list[Completion]:
        """The replies to each group of checks, in a row; what a group's prompts open with is read once for all of them."""
        opened = self.policy.generate([g[0][: max(1, shared_length(g))] for g in groups], max_new_tokens=0, remember=0)
        after = [c.memory for c, group in zip(opened, groups, strict=True) for _ in group]
        prompts = [ids for group in groups for ids in group]
        return self.policy.generate(prompts, max_new_tokens=self.max_new_tokens, after=after)


def read_verdict(reply: str, marker: str) -> bool | None:
    """The word behind the last marker of a verifier's reply: True, False, or None where there is neither."""
    _, found, after = reply.lower().rpartition(marker.lower())
    word = re.match(r"[\s*_`\"'\\$({\[]*(true|false)\b", after) if found else None
    return None if word is None else word[1] == "true"


class PerfectSparseReward(_Addable):
    """PSRM: 0 where the final answer is right, else −1. It knows the true answers: an oracle, never a method."""

    def __init__(self, prompt: str | Path = "boxed"):
        self.style = prompt_style(prompt)

    def __call__(self, problems: Sequence[Problem], answers: Sequence[str]) -> list[Score]:
        pairs = zip(problems, answers, strict=True)
        return [Score(0.0 if is_correct(a, p.answer, style=self.style, benchmark=p.benchmark) else -1.0) for p, a in pairs]


class FormatReward(_Addable):
    """A penalty where an answer misses the asked-for format: −2/6, added outside self-reward's normalisation as in the authors'
    code, so that the sum lies in [−8/6, 0]."""

    def __init__(self, prompt: str | Path = "boxed", penalty: float = 2 / 6):
        self.style, self.penalty = prompt_style(prompt), penalty

    def __call__(self, problems: Sequence[Problem], answers: Sequence[str]) -> list[Score]:
        formatted = [
            extract_answer(a, style=self.style, benchmark=p.benchmark) is not None for p, a in zip(problems, answers, strict=True)
        ]
        return [Score(0.0 if fits else -self.penalty, {"format": fits}) for fits in formatted]


class OutcomeReward(_Addable):
    """A trained outcome reward model judges question and answer (section E.5): σ(its score) − 1, in [−1, 0], so that the default
    τ = −0.2 asks for a probability above 0.8.

    Args:
        name_or_path: a sequence classifier with one output: `tiny-outcome` (in the box), a folder or a hub id.
        device: `auto` takes a GPU if there is one.

    Raises:
        ValueError: no such model, or one with several outputs.
    """

    def __init__(self, name_or_path: str | Path, *, device: str = "auto", dtype: str = "auto", batch_size: int = 8):
        self.batch_size = batch_size
        name = str(MODELS_FOLDER / name_or_path if (MODELS_FOLDER / name_or_path).is_dir() else name_or_path)
        device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        dtype = torch.float32 if (device, dtype) == ("cpu", "auto") else dtype
        try:
            with nullcontext() if Path(name).is_dir() else offline_if_unreachable():
                self.tokenizer = transformers.AutoTokenizer.from_pretrained(name)
                self.model = transformers.AutoModelForSequenceClassification.from_pretrained(name, dtype=dtype).eval().to(device)
        except (OSError, ValueError) as error:
            raise ValueError(f"the outcome reward model {name!r} can't be loaded: {str(error).splitlines()[0]}") from error
        if self.model.config.num_labels != 1:
            raise ValueError(f"{name} has {self.model.config.num_labels} outputs; an outcome reward model has one")
        self.tokenizer.pad_token_id = self.model.config.pad_token_id = self._padding()

    def _padding(self) -> int:
        return next(i for i in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id, 0) if i is not None)

    @torch.no_grad()
    def __call__(self, problems: Sequence[Problem], answers: Sequence[str]) -> list[Score]:
        texts, values = [self._text(p, a) for p, a in zip(problems, answers, strict=True)], []
        for start in range(0, len(texts), self.batch_size):
            batch = self.tokenizer(
                texts[start : start + self.batch_size],
                add_special_tokens=not self.tokenizer.chat_template,
                padding=True,
                return_tensors="pt",
            ).to(self.model.device)
            logits = self.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
            values += (logits.float().sigmoid() - 1).tolist()
        return [Score(value) for value in values]

    def _text(self, problem: Problem, answer: str) -> str:
        talk = [{"role": "user", "content": problem.question}, {"role": "assistant", "content": answer}]
        plain = f"{problem.question}\n\n{answer}"
        return self.tokenizer.apply_chat_template(talk, tokenize=False) if self.tokenizer.chat_template else plain
