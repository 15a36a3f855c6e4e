"""What an embedded model can do: its answers, and how far its verdicts can be trusted. All of it against the tasks' programs."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..answers import is_correct
from ..policy import Policy
from ..prompts import render_prompt
from ..rewards import PerfectSparseReward, SelfReward
from ..seek import seek
from ..settings import SeekConfig
from . import checks, stories
from .examples import OwnAnswers, as_problem, draw_maths, draw_style
from .tasks import Task

ANSWER_TOKENS = 256
STORY_SHARE = 0.88
# Where the answers come from that the verifier is to judge: as greedy decoding gives them, sampled, behind a sampled opening, and
# from the search's own iterations, which look unlike all others.
SOURCES = {"greedy": 0.35, "sampled": 0.3, "opening": 0.1, "searched": 0.25}


def answers_of(
    policy: Policy,
    tasks: Sequence[Task],
    *,
    style: str = "boxed",
    temperature: float = 0.0,
    seed: int = 0,
    forced: Sequence[Sequence[int]] | None = None,
) -> list[str]:
    """The model's answers to tasks, as text; `forced` are the tokens that each begins with."""
    prompts = [policy.encode(render_prompt(as_problem(task), style=style)) for task in tasks]
    completions = policy.generate(prompts, forced=forced, max_new_tokens=ANSWER_TOKENS, temperature=temperature, seed=seed)
    return [policy.decode_text(c.token_ids) for c in completions]


def answers_behind_openings(policy: Policy, tasks: Sequence[Task], *, style: str = "boxed", seed: int = 0) -> list[str]:
    """Greedy answers behind eight tokens sampled at temperature 1.5."""
    prompts = [policy.encode(render_prompt(as_problem(task), style=style)) for task in tasks]
    openings = [c.token_ids for c in policy.generate(prompts, max_new_tokens=8, temperature=1.5, seed=seed)]
    return answers_of(policy, tasks, style=style, forced=openings)


def answers_of_searches(policy: Policy, tasks: Sequence[Task], *, style: str = "boxed", iterations: int = 4) -> OwnAnswers:
    """The different answers of searches with the perfect reward behind the first, each with its task; three a problem at most."""
    problems = [as_problem(task, name=str(index)) for index, task in enumerate(tasks)]
    config = SeekConfig(max_iterations=iterations, learning_rate=0.03, rho=0.2, max_new_tokens=ANSWER_TOKENS)
    found = []
    for task, result in zip(
        tasks, seek(policy, problems, PerfectSparseReward(), config, prompt=style, progress=False), strict=True
    ):
        texts = dict.fromkeys(step.answer_text for step in result.steps[1:] if step.answer_text != result.steps[0].answer_text)
        found += [(task, text) for text in list(texts)[:3]]
    return found


def sample_own_answers(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, count: int, seed: int) -> OwnAnswers:
    """About `count` answers of a model in training to training problems."""
    policy, rng = Policy(model, tokenizer, name="in training"), random.Random(f"own/{seed}")
    own: list[tuple[Task, str]] = []
    for source, share in SOURCES.items():
        drawn = [(_draw(rng), draw_style(rng)) for _ in range(round(count * share))]
        for style in ("boxed", "json"):
            tasks = [task for task, wanted in drawn if wanted == style]
            own += _answers_from(source, policy, tasks, style, seed) if tasks else []
    model.requires_grad_(True)
    return balanced(own, rng)


def _draw(rng: random.Random) -> Task:
    return stories.draw(rng, "train") if rng.random() < STORY_SHARE else draw_maths(rng)


def _answers_from(source: str, policy: Policy, tasks: list[Task], style: str, seed: int) -> OwnAnswers:
    if source == "searched":
        return answers_of_searches(policy, tasks, style=style)
    if source == "opening":
        answers = answers_behind_openings(policy, tasks, style=style, seed=seed)
    else:
        answers = answers_of(policy, tasks, style=style, temperature=float(source == "sampled"), seed=seed)
    return list(zip(tasks, answers, strict=True))


def balanced(own: OwnAnswers, rng: random.Random) -> OwnAnswers:
    """As many right answers as wrong ones, the scarcer kind repeated, so that no verdict is the safe one to give."""
    right = [pair for pair in own if solved(*pair)]
    wrong = [pair for pair in own if not solved(*pair)]
    if not right or not wrong:
        return own
    half = max(len(right), len(wrong))
    return [pair for kind in (right, wrong) for pair in kind + rng.choices(kind, k=half - len(kind))]


def solved(task: Task, answer: str) -> bool:
    style = "json" if answer.startswith("{") else "boxed"
    return is_correct(answer, task.answer, style=style, benchmark=task.benchmark)


def accuracy(tasks: Sequence[Task], answers: Sequence[str], style: str = "boxed") -> float:
    right = [is_correct(a, t.answer, style=style, benchmark=t.benchmark) for t, a in zip(tasks, answers, strict=True)]
    return sum(right) / len(right)


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
    policy: Policy, tasks: Sequence[Task], answers: Sequence[str], threshold: float = -0.2
) -> dict[str, Confusion]:
    """A confusion table for each check against the program's own verdict, and for `reward > threshold` against the true answer."""
    scores = SelfReward(policy, max_new_tokens=ANSWER_TOKENS)([as_problem(t) for t in tasks], answers)
    tables = {name: Confusion() for name in (*checks.CHECKS, "reward")}
    for task, answer, score in zip(tasks, answers, scores, strict=True):
        for name in checks.CHECKS:
            tables[name].add(checks.check(name, task, answer)[1], score.checks[name])
        tables["reward"].add(solved(task, answer), score.value > threshold)
    return tables
