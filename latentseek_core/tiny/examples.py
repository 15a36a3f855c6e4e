"""Training examples: what is asked, what is replied, and how much each token of the reply counts."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from ..problems import Problem
from ..prompts import load_prompt, render_checks, render_prompt
from . import checks, contest, maths, stories, worked
from .mistakes import flawed_answer, wrong_number
from .tasks import Task, calculate

VERIFIERS = Path(__file__).resolve().parent / "verifiers.yaml"
JSON_SHARE = 0.12

Messages = list[dict[str, str]]
OwnAnswers = Sequence[tuple[Task, str]]


@dataclass(frozen=True)
class Mixture:
    """Shares of the kinds of example, and how hard they are.

    `solve` is for stories, `maths` for the two other benchmarks; a share `shots` of both comes behind worked examples (before the
    model can copy from one question, a second one only confuses it). `random_claims` is the share of wrong claims that are random
    numbers (they can't be guessed, so they force the model to read the claim); `own` is the share of verifier examples about the
    model's own answers.
    """

    solve: float = 0.0
    maths: float = 0.0
    drill: float = 0.0
    compare: float = 0.0
    equations: float = 0.0
    verify: float = 0.0
    shots: float = 0.0
    random_claims: float = 0.15
    own: float = 0.0


def as_problem(task: Task, name: str = "train") -> Problem:
    return Problem(name, task.question, task.answer, task.benchmark)


def draw_maths(rng: random.Random, split: str = "train") -> Task:
    return contest.draw(rng, split) if rng.random() < 0.15 else maths.draw(rng, split)


def _ask(text: str) -> Messages:
    return [{"role": "user", "content": text}]


def random_calculation(rng: random.Random) -> tuple[int, str, int, int]:
    """A calculation of the kind that stories need, with its result."""
    while True:
        op = rng.choice("++--*/")
        a, b, small = rng.randint(2, 999), rng.randint(2, 400), rng.randint(2, 9)
        if op == "*":
            a, b = (small, rng.randint(2, 300)) if rng.random() < 0.3 else (rng.randint(2, 300), small)
        elif op == "/":
            a, b = small * rng.randint(2, 499), small
        if 1 <= calculate(a, op, b) <= 999 and a <= 999:
            return a, op, b, calculate(a, op, b)


def draw_style(rng: random.Random) -> str:
    return "json" if rng.random() < JSON_SHARE else "boxed"


def _shot(rng: random.Random, draw: Callable[..., Task]) -> Problem:
    task = draw(rng, "train")
    return Problem("shot", task.question, task.answer, task.benchmark, worked.working(task, rng, "First"))


def solve(rng: random.Random, draw: Callable[..., Task], shots_share: float) -> tuple[Messages, str]:
    task, style = draw(rng, "train"), draw_style(rng)
    if rng.random() < shots_share:
        shots = [_shot(rng, draw) for _ in range(rng.randint(1, 2))]
        return render_prompt(as_problem(task), style=style, shots=shots), worked.solution(task, rng, style, "First")
    return render_prompt(as_problem(task), style=style), worked.solution(task, rng, style)


def drill(rng: random.Random) -> tuple[Messages, str]:
    careful, sums = rng.random() < 0.6, [random_calculation(rng) for _ in range(5)]
    asked = "; ".join(f"{a}{op}{b}" for a, op, b, _ in sums)
    replied = "; ".join(worked.equation(*eq, careful=careful) for eq in sums)
    return _ask(f"{'Carefully' if careful else 'So'}: {asked}"), replied


def compare(rng: random.Random) -> tuple[Messages, str]:
    asked, lines, alike = [], [], True
    for _ in range(4):
        a = rng.randint(2, 999)
        b = a if rng.random() < 0.5 else wrong_number(rng, a, 0.3)
        pairs, same = checks.digit_pairs(a, b)
        asked.append(f"{a} {b}")
        lines.append(f"{pairs} {'yes' if same else 'no'};")
        alike &= same
    return _ask("Compare. " + "; ".join(asked)), " ".join([*lines, f"verdict: {alike}"])


def equations(rng: random.Random, mixture: Mixture) -> tuple[Messages, str]:
    """The calculation check on bare equations, half of them wrong."""
    lines = []
    for _ in range(rng.randint(1, 4)):
        a, op, b, result = random_calculation(rng)
        claimed = result if rng.random() < 0.5 else wrong_number(rng, result, mixture.random_claims)
        lines.append(f"{a}{op}{b}={claimed}")
    answer = "; ".join(lines)
    problem = Problem("drill", "none", "", "tiny-gsm")
    return render_checks(problem, answer, load_prompt(VERIFIERS))["calculation_check"], checks.check_calculations(answer)[0]


def verify(rng: random.Random, mixture: Mixture, own: OwnAnswers) -> tuple[Messages, str]:
    name, wanted = rng.choices(checks.CHECKS, [0.29, 0.29, 0.35, 0.07])[0], rng.random() < 0.5
    for _ in range(12):  # about as many answers that pass this check as fail it, so that neither verdict is the safe one to give
        if own and rng.random() < mixture.own:
            task, answer = rng.choice(own)
        else:
            task = stories.draw(rng, "train") if rng.random() < 0.85 else draw_maths(rng)
            answer = flawed_answer(task, rng, draw_style(rng), mixture.random_claims)
        if checks.check(name, task, answer)[1] == wanted:
            break
    messages = render_checks(as_problem(task), answer, load_prompt(VERIFIERS))[name]
    return messages, checks.check(name, task, answer)[0]


def draw_example(rng: random.Random, mixture: Mixture, own: OwnAnswers) -> tuple[str, tuple[Messages, str]]:
    """One example of the mixture: its kind, and (what is asked, what is replied)."""
    makers: dict[str, Callable[[], tuple[Messages, str]]] = {
        "solve": lambda: solve(rng, stories.draw, mixture.shots),
        "maths": lambda: solve(rng, draw_maths, mixture.shots),
        "drill": lambda: drill(rng),
        "compare": lambda: compare(rng),
        "equations": lambda: equations(rng, mixture),
        "verify": lambda: verify(rng, mixture, own),
    }
    kind = rng.choices(list(makers), [getattr(mixture, name) for name in makers])[0]
    return kind, makers[kind]()


class Encoder:
    """Turns examples into ids and token weights.

    In a verifier's reply the tokens that decide count more: verdicts and marks, the digits that must be copied from the answer
    rather than worked out, and what the question wants.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        self.tokenizer = tokenizer
        ids = tokenizer.get_vocab()
        self.digits = {ids[d] for d in "0123456789"}
        self.space, self.claim = ids["Ġ"], {ids.get(word) for word in ("Ġclaim", "Ġbox", "box", "Ġused")}
        self.counted = self.digits | {ids[space + op] for space in ("", "Ġ") for op in "+-*/_" if space + op in ids}
        self.weights = {ids[w]: 4.0 for w in ("Ġyes", "Ġno", "ĠTrue", "ĠFalse") if w in ids} | {ids[w]: 3.0 for w in "yn"}

    def _reply_weights(self, reply: list[int]) -> list[float]:
        text = self.tokenizer.decode(reply)
        read = (
            len(self.tokenizer(text.partition(";")[0], add_special_tokens=False)["input_ids"]) if text.startswith("read") else 0
        )
        weights, copying = [], False
        for place, token in enumerate(reply):
            if place < read:  # what the question wants, which must not be copied from the answer
                weights.append(1.0 if token == self.space else 3.0)
                continue
            copying = token in self.claim or (copying and (token in self.counted or token == self.space))
            weights.append(4.0 if copying and token in self.counted else self.weights.get(token, 1.0))
            if token == self.space and weights[-2:-1] == [4.0]:
                copying = False
        return weights

    def __call__(self, kind: str, example: tuple[Messages, str]) -> tuple[list[int], list[float]]:
        messages, text = example
        asked = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        prompt = self.tokenizer(asked, add_special_tokens=False)["input_ids"]
        reply = self.tokenizer(text, add_special_tokens=False)["input_ids"] + [self.tokenizer.eos_token_id]
        weights = [1.0] * len(reply) if kind in ("solve", "maths", "drill") else self._reply_weights(reply)
        return prompt + reply, [0.0] * len(prompt) + weights


def batches(rng: random.Random, mixture: Mixture, own: OwnAnswers, encode: Encoder, tokens: int):
    """Endless batches of about `tokens` padded tokens, of examples of like length: `(ids, weights)`, both [batch, length]."""
    while True:
        pool = sorted((encode(*draw_example(rng, mixture, own)) for _ in range(256)), key=lambda e: len(e[0]))
        groups: list[list] = [[]]
        for example in pool:
            if (len(groups[-1]) + 1) * len(example[0]) > tokens:
                groups.append([])
            groups[-1].append(example)
        rng.shuffle(groups)
        for group in groups:
            length = -(-max(len(ids) for ids, _ in group) // 16) * 16
            ids = torch.tensor([i + [0] * (length - len(i)) for i, _ in group])
            yield ids, torch.tensor([w + [0.0] * (length - len(w)) for _, w in group])
