"""Problems with a program behind each: what every generator of the embedded benchmarks gives.

The program is what makes everything else checkable: the true answer, worked solutions in any number of wordings, and (for
training a verifier) wrong solutions whose mistakes are known. No step of a program can be skipped: each result is used later.
"""

import hashlib
from dataclasses import dataclass

LARGEST = 999


@dataclass(frozen=True)
class Ref:
    """An operand that is the result of an earlier step."""

    step: int


Operand = int | Ref
Equation = tuple[int, str, int, int]


@dataclass(frozen=True)
class Step:
    """`left op right`. `kind` chooses the sentence that tells it; `who` has `noun` after it (stories only)."""

    left: Operand
    op: str
    right: Operand
    kind: str
    who: str = ""
    noun: str = ""


@dataclass(frozen=True)
class Way:
    """One right way to the answer: its steps, and the results (or numbers) that the answer is made of."""

    steps: tuple[Step, ...]
    final: tuple[Operand, ...]


@dataclass(frozen=True)
class Task:
    """The text of a question and the ways to answer it, the longest first; `form` is how the answer is written, such as
    `\\frac{{{}}}{{{}}}`; `distractors` are numbers of the text that have nothing to do with the answer."""

    benchmark: str
    question: str
    ways: tuple[Way, ...]
    form: str = "{}"
    distractors: tuple[int, ...] = ()
    subject: str = ""
    level: int = 0

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.ways[0].steps

    @property
    def answer(self) -> str:
        return self.write(self.ways[0])

    @property
    def program(self) -> str:
        """The task without its words: operations and numbers."""
        return repr((self.form, [(step.op, step.left, step.right) for step in self.steps], self.ways[0].final))

    @property
    def identity(self) -> str:
        """What no two splits share: of a story its program, whatever words it is told in; else the question, whose words are fixed
        (and which two programs may answer)."""
        return self.program if self.benchmark == "tiny-gsm" else self.question

    @property
    def split(self) -> str:
        """The split that this task belongs to: no other can contain it."""
        bucket = int(hashlib.sha256(self.identity.encode()).hexdigest(), 16) % 20
        return {0: "test", 1: "tune"}.get(bucket, "train")

    def write(self, way: Way, slips: dict[int, int] | None = None) -> str:
        """The answer that a way leads to, if the results of some steps are wrong (`slips`, by step)."""
        results = [result for *_, result in evaluate(way.steps, slips)]
        return self.form.format(*(results[x.step] if isinstance(x, Ref) else x for x in way.final))


def calculate(left: int, op: str, right: int) -> int:
    """`left op right`; a division is rounded down (in a right program it is always exact)."""
    return {"+": left + right, "-": left - right, "*": left * right, "/": left // right if right else 0}[op]


def evaluate(steps: tuple[Step, ...], slips: dict[int, int] | None = None) -> list[Equation]:
    """The equations of a program, `(left, op, right, result)` each; `slips[i]` replaces the result of step i by a wrong one,
    which later steps then carry on with."""
    equations: list[Equation] = []
    for index, step in enumerate(steps):
        left, right = (equations[x.step][3] if isinstance(x, Ref) else x for x in (step.left, step.right))
        result = (slips or {}).get(index, calculate(left, step.op, right))
        equations.append((left, step.op, right, result))
    return equations


def sound(task: Task) -> bool:
    """Whether every way gives the same answer by exact steps with numbers from 1 to 999, each result used later."""
    return all(task.write(way) == task.answer and _sound(way) for way in task.ways)


def _sound(way: Way) -> bool:
    equations = evaluate(way.steps)
    used = {x.step for x in (*way.final, *(o for step in way.steps for o in (step.left, step.right))) if isinstance(x, Ref)}
    exact = all(op != "/" or (right and left == right * result) for left, op, right, result in equations)
    small = all(1 <= number <= LARGEST for left, _, right, result in equations for number in (left, right, result))
    return exact and small and used == set(range(len(way.steps)))
