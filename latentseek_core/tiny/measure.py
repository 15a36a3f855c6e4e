"""What an embedded model can do: its answers, and how far its verdicts can be trusted. All of it against the stories' programs."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..answers import is_correct
from ..policy import Policy
from ..prompts import render_prompt
from ..rewards import SelfReward
from . import worked
from .examples import JSON_SHARE, OwnAnswers, as_problem
from .stories import Story, draw

ANSWER_TOKENS = 220


def answers_of(
    policy: Policy, stories: Sequence[Story], *, style: str = "boxed", temperature: float = 0.0, seed: int = 0
) -> list[str]:
    """The model's answers to stories, as text."""
    prompts = [policy.encode(render_prompt(as_problem(story), style=style)) for story in stories]
    completions = policy.generate(prompts, max_new_tokens=ANSWER_TOKENS, temperature=temperature, seed=seed)
    return [policy.decode_text(c.token_ids) for c in completions]


def sample_own_answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int, seed: int) -> OwnAnswers:
    """Answers of a model in training to training problems, half of them sampled at temperature 1: greedy ones are hardest to
    tell, sampled ones most varied."""
    policy, rng = Policy(model, tokenizer, name="in training"), random.Random(f"own/{seed}")
    own: list[tuple[Story, str]] = []
    for style, share in (("boxed", 1 - JSON_SHARE), ("json", JSON_SHARE)):
        for temperature in (0.0, 1.0):
            stories = [draw(rng, "train") for _ in range(round(count * share / 2))]
            answers = answers_of(policy, stories, style=style, temperature=temperature, seed=seed)
            own += zip(stories, answers, strict=True)
    model.requires_grad_(True)
    return own


@dataclass
class Confusion:
    """Verdicts against the truth: of the answers that should pass, how many did; of those that should not, how many were refused."""

    accepted: int = 0
    should_pass: int = 0
    refused: int = 0
    should_fail: int = 0

    def add(self, truth: bool, verdict: bool | None) -> None:
        if truth:
            self.should_pass += 1
            self.accepted += verdict is True
        else:
            self.should_fail += 1
            self.refused += verdict is not True

    @property
    def true_accept(self) -> float | None:
        return self.accepted / self.should_pass if self.should_pass else None

    @property
    def true_reject(self) -> float | None:
        return self.refused / self.should_fail if self.should_fail else None


def verifier_confusion(
    policy: Policy, stories: Sequence[Story], answers: Sequence[str], threshold: float = -0.2
) -> dict[str, Confusion]:
    """A confusion table for each check against the program's own verdict, and for `reward > threshold` against the true answer."""
    scores = SelfReward(policy, max_new_tokens=ANSWER_TOKENS)([as_problem(s) for s in stories], answers)
    tables = {name: Confusion() for name in (*worked.CHECKS, "reward")}
    for story, answer, score in zip(stories, answers, scores, strict=True):
        for name in worked.CHECKS:
            tables[name].add(worked.check(name, story, answer)[1], score.checks[name])
        right = is_correct(answer, str(story.answer), style="boxed", benchmark="tiny-gsm", strict=False)
        tables["reward"].add(right, score.value > threshold)
    return tables


def accuracy(stories: Sequence[Story], answers: Sequence[str], style: str = "boxed") -> float:
    right = [is_correct(a, str(s.answer), style=style, benchmark="tiny-gsm") for s, a in zip(stories, answers, strict=True)]
    return sum(right) / len(right)
