"""Rewards that ask nobody: what the model's own probabilities, or its other answers, say about an answer; and an oracle that errs.

Those read off probabilities have a scale of their own, so τ has to be set with them: a search stops at r > τ, and pushes away from
what it has only while r < 0. They cost forwarded tokens, but none that are written.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from .answers import canonical, extract_answer, is_correct
from .coherence import distributions, log_probabilities
from .policy import Policy, seed_of
from .problems import Problem
from .prompts import fill, load_prompt, prompt_style, render_prompt
from .rewards import Score, _Addable

TOP = 10  # K of LTPO's confidence


def confidence(log_probabilities: torch.Tensor, top: int = TOP) -> torch.Tensor:
    """LTPO's reward (arXiv 2510.04182): `−(1/|S|) Σ_{s∈S} (1/K) Σ_{j in the top K} log p_j(s)`, of `[S, vocabulary]`.

    It grows as the distributions get peaked, for then the ranks 2..K become unlikely; at least log K.
    """
    return -log_probabilities.topk(min(top, log_probabilities.shape[-1])).values.mean()


class _OfText(_Addable):
    """A reward that is read off the model once for each question and answer, and then remembered."""

    def __init__(self, policy: Policy, *, prompt: str | Path = "boxed"):
        self.policy, self.prompt, self._known = policy, prompt, {}

    def __call__(self, problems: Sequence[Problem], answers: Sequence[str]) -> list[Score]:
        asked = {(p.question, a): (p, a) for p, a in zip(problems, answers, strict=True)}
        if new := {key: pair for key, pair in asked.items() if key not in self._known}:
            self._known |= dict(zip(new, self._values(list(new.values())), strict=True))
        return [Score(self._known[p.question, a]) for p, a in zip(problems, answers, strict=True)]

    def _put(self, pairs: list[tuple[Problem, str]]) -> tuple[list[list[int]], list[list[int]]]:
        """The solver prompts and the answers' tokens; an empty answer is one that ends at once."""
        prompts = [self.policy.encode(render_prompt(p, style=self.prompt, folder=self.policy.folder)) for p, _ in pairs]
        return prompts, [_tokens(self.policy, answer) or [min(self.policy.stop_ids, default=0)] for _, answer in pairs]


def _tokens(policy: Policy, text: str) -> list[int]:
    return policy.tokenizer(text, add_special_tokens=False)["input_ids"]


class Confidence(_OfText):
    """LTPO's confidence in the places of the answer's tokens: above 0, so that a search by it needs a variant that compares samples
    (`sampled`, `group`, `ppo`), or only stops by it."""

    def _values(self, pairs):
        return [confidence(chances).item() for chances in distributions(self.policy, *self._put(pairs))]


class LogProbability(_OfText):
    """The mean log π(x_t | c, x_<t) over the answer's tokens: at most 0, and −log of its perplexity."""

    def _values(self, pairs):
        return [found.mean().item() for found in log_probabilities(self.policy, *self._put(pairs))]


class Reconstruction(_OfText):
    """The mean log-probability of the question's tokens where the model is shown the answer and asked what the question was: at most
    0 (the idea of ReLAT, arXiv 2606.06252; the wording in `prompts/reconstruction.yaml` is ours). An answer that leaves no room for
    the question tells nothing of it: a blind guess, −log of the vocabulary's size."""

    def _values(self, pairs):
        ask = load_prompt("reconstruction", self.policy.folder)["ask"]
        prompts = [self.policy.encode([{"role": "user", "content": fill(ask, {"answer": answer})}]) for _, answer in pairs]
        questions = [_tokens(self.policy, problem.question) for problem, _ in pairs]
        room = self.policy.context_length or 2**31
        fitting = [
            i for i, (ids, question) in enumerate(zip(prompts, questions, strict=True)) if len(ids) + len(question) <= room
        ]
        values = [-math.log(self.policy.head_module.weight.shape[0])] * len(pairs)
        found = log_probabilities(self.policy, [prompts[i] for i in fitting], [questions[i] for i in fitting])
        for i, each in zip(fitting, found, strict=True):
            values[i] = each.mean().item()
        return values


class Majority(_Addable):
    """0 where an answer states what most of N samples state, else −1; their tokens count as verdict tokens of the problem's first
    score. Where no sample states anything, no answer agrees."""

    def __init__(
        self,
        policy: Policy,
        *,
        n_samples: int = 3,
        temperature: float = 1.0,
        max_new_tokens: int = 1024,
        prompt: str | Path = "boxed",
        seed: int = 0,
    ):
        self.policy, self.prompt, self.style = policy, prompt, prompt_style(prompt, policy.folder)
        self.n_samples, self.how = n_samples, {"temperature": temperature, "max_new_tokens": max_new_tokens, "seed": seed}
        self._known: dict[str, str | None] = {}

    def __call__(self, problems: Sequence[Problem], answers: Sequence[str]) -> list[Score]:
        new = {p.question: p for p in problems if p.question not in self._known}
        tokens, scores = self._ask(list(new.values())) if new else {}, []
        for problem, answer in zip(problems, answers, strict=True):
            wanted, stated = self._known[problem.question], vote(problem, answer, self.style)
            agrees = stated is not None and stated == wanted
            scores.append(Score(0.0 if agrees else -1.0, {"majority": agrees}, tokens.pop(problem.question, 0)))
        return scores

    def _ask(self, problems: list[Problem]) -> dict[str, int]:
        """Remembers what most samples state; returns what they cost, by question."""
        prompts = [self.policy.encode(render_prompt(p, style=self.prompt, folder=self.policy.folder)) for p in problems]
        opened = self.policy.generate(prompts, max_new_tokens=0, remember=0)
        repeated = [ids for ids in prompts for _ in range(self.n_samples)]
        after = [o.memory for o in opened for _ in range(self.n_samples)]
        drawn, spent = iter(self.policy.generate(repeated, after=after, **self.how)), {}
        for problem in problems:
            mine = [next(drawn) for _ in range(self.n_samples)]
            votes = [vote(problem, self.policy.decode_text(c.token_ids), self.style) for c in mine]
            self._known[problem.question] = votes[majority(votes)]
            spent[problem.question] = sum(c.decoded for c in mine)
        return spent


def vote(problem: Problem, answer: str, style: str) -> str | None:
    """The value that an answer states in whatever format, written so that equal values are equal; None where it states none."""
    stated = extract_answer(answer, style=style, benchmark=problem.benchmark, strict=False)
    return None if stated is None else canonical(stated, problem.benchmark)


def majority(votes: Sequence[str | None]) -> int:
    """The place of the first vote for the most frequent value; Counter keeps equal counts in the order drawn."""
    counts = Counter(vote for vote in votes if vote is not None)
    return votes.index(counts.most_common(1)[0][0]) if counts else 0


class NoisyOracle(_Addable):
    """PSRM with errors at known rates: a right answer is accepted (0, not −1) with the probability `true_accept`, a wrong one with
    `false_accept`. Its word on an answer is fixed by seed, problem and answer."""

    def __init__(self, true_accept: float = 0.9, false_accept: float = 0.1, *, seed: int = 0, prompt: str | Path = "boxed"):
        self.true_accept, self.false_accept, self.seed, self.style = true_accept, false_accept, seed, prompt_style(prompt)

    def __call__(self, problems: Sequence[Problem], answers: Sequence[str]) -> list[Score]:
        return [Score(0.0 if self._accepts(p, a) else -1.0) for p, a in zip(problems, answers, strict=True)]

    def _accepts(self, problem: Problem, answer: str) -> bool:
        right = is_correct(answer, problem.answer, style=self.style, benchmark=problem.benchmark)
        draw = seed_of(self.seed, problem.id, answer) / 2**56  # even in [0, 1)
        return draw < (self.true_accept if right else self.false_accept)
