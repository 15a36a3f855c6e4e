"""Word problems with a program behind each: the endless generator of the benchmark `tiny-gsm`.

A story is told around a small program of one to four arithmetic steps. The program is what makes everything else
checkable: the true answer, worked solutions in any number of wordings, and (for training a verifier) wrong solutions
whose mistakes are known. Each step uses the result of the one before, so that no step can be skipped.
"""

import hashlib
import random
from dataclasses import dataclass

NAMES = ["Ben", "Mia", "Tom", "Ana", "Leo", "Zoe", "Sam", "Eva", "Max", "Ida", "Jon", "Amy"]
THINGS = ["pens", "cards", "shells", "coins", "stamps", "apples", "eggs", "books", "stones", "beads"]
CONTAINERS = ["boxes", "bags", "jars", "trays", "packs"]
LARGEST = 999


@dataclass(frozen=True)
class Ref:
    """An operand that is the result of an earlier step."""

    step: int


@dataclass(frozen=True)
class Step:
    """`left op right`, with numbers from the story or results of earlier steps; `noun` is what is counted."""

    left: "int | Ref"
    op: str
    right: "int | Ref"
    kind: str
    who: str
    noun: str


@dataclass(frozen=True)
class Story:
    """The text of a question, the steps that answer it, and the numbers in it that have nothing to do with the answer."""

    question: str
    steps: tuple[Step, ...]
    distractors: tuple[int, ...] = ()

    @property
    def values(self) -> list[int]:
        """The result of each step."""
        return [value for _, _, _, value in evaluate(self.steps)]

    @property
    def answer(self) -> int:
        return self.values[-1]

    @property
    def program(self) -> str:
        """The story without its words: operations and numbers."""
        return repr([(step.op, step.left, step.right) for step in self.steps])

    @property
    def split(self) -> str:
        """The split that this story's program belongs to, whatever words it is told in: no other split can contain it."""
        bucket = int(hashlib.sha256(self.program.encode()).hexdigest(), 16) % 20
        return {0: "test", 1: "tune"}.get(bucket, "train")


def calculate(left: int, op: str, right: int) -> int:
    """`left op right`; a division is rounded down (in a story it is always exact)."""
    return {"+": left + right, "-": left - right, "*": left * right, "/": left // right if right else 0}[op]


def evaluate(steps: tuple[Step, ...], slips: dict[int, int] | None = None) -> list[tuple[int, str, int, int]]:
    """The equations of a program, `(left, op, right, result)` each; `slips[i]` replaces the result of step i by a wrong one,
    which later steps then carry on with."""
    equations: list[tuple[int, str, int, int]] = []
    for index, step in enumerate(steps):
        left, right = (equations[x.step][3] if isinstance(x, Ref) else x for x in (step.left, step.right))
        result = (slips or {}).get(index, calculate(left, step.op, right))
        equations.append((left, step.op, right, result))
    return equations


class _Teller:
    """Builds one story: keeps who is talked about, what they have, and the sentences so far."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.names = rng.sample(NAMES, 4)
        self.who = self.hero = self.names.pop()
        self.noun = rng.choice(THINGS)
        self.sentences: list[str] = []
        self.steps: list[Step] = []
        self.start: int | None = None
        self.pair: tuple[str, str] | None = None
        self.question = f"How many {self.noun} does {self.who} have now?"
        self.finished = False

    @property
    def value(self) -> int:
        return evaluate(tuple(self.steps))[-1][3] if self.steps else self.start

    def add(self, op: str, right: "int | Ref", kind: str, sentence: str = "") -> None:
        left = Ref(len(self.steps) - 1) if self.steps else self.start
        self.steps.append(Step(left, op, right, kind, self.who, self.noun))
        if sentence:
            self.sentences.append(sentence)

    def open(self) -> None:
        rng = self.rng
        if rng.random() < 0.6:
            small, large = rng.randint(2, 9), rng.randint(3, 99)
            count, content = (small, large) if rng.random() < 0.5 else (large, small)
            container = rng.choice(CONTAINERS)
            self.start = count
            self.add(
                "*",
                content,
                "contain",
                rng.choice(
                    [
                        f"{self.who} has {count} {container} with {content} {self.noun} in each.",
                        f"There are {content} {self.noun} in each of the {count} {container} of {self.who}.",
                    ]
                ),
            )
        else:
            self.start = rng.randint(20, 250)
            self.sentences.append(f"{self.who} has {self.start} {self.noun}.")

    def gain(self) -> bool:
        k = self.rng.randint(5, 250)
        verb = self.rng.choice(["buys", "finds", "gets"])
        self.add("+", k, "gain", f"Then {self.who} {verb} {k} more {self.noun}.")
        return True

    def lose(self) -> bool:
        if self.value < 8:
            return False
        k = self.rng.randint(3, min(self.value - 2, 250))
        verb = self.rng.choice(["loses", "breaks", "gives away", "sells"])
        self.add("-", k, "lose", f"Then {self.who} {verb} {k} {self.noun}.")
        return True

    def compare(self) -> bool:
        other, rng = self.names.pop(), self.rng
        kind = rng.choice(["times", "more", "fewer"])
        k = rng.randint(2, 6) if kind == "times" else rng.randint(3, min(250, max(4, self.value - 2)))
        phrase = f"{k} times as many {self.noun} as" if kind == "times" else f"{k} {kind} {self.noun} than"
        sentence = f"{other} has {phrase} {self.who}."
        self.pair, self.who = (self.who, other), other
        self.question = f"How many {self.noun} does {other} have?"
        self.add({"times": "*", "more": "+", "fewer": "-"}[kind], k, kind, sentence)
        return True

    def together(self) -> bool:
        if self.pair is None or self.steps[-1].kind not in ("times", "more", "fewer"):
            return False
        before = Ref(len(self.steps) - 2) if len(self.steps) > 1 else self.start
        first, second = self.pair
        self.add("+", before, "together")
        self.question = f"How many {self.noun} do {first} and {second} have together?"
        self.finished = True
        return True

    def share(self) -> bool:
        divisors = [k for k in range(2, 10) if self.value % k == 0 and self.value // k > 1]
        if not divisors:
            return False
        k = self.rng.choice(divisors)
        container = self.rng.choice(CONTAINERS)
        self.add("/", k, "share", f"{self.who} puts the {self.noun} into {k} equal {container}.")
        self.question = f"How many {self.noun} are in each of these {container}?"
        self.finished = True
        return True

    def sell(self) -> bool:
        k = self.rng.randint(2, 9)
        sentence = f"{self.who} sells all the {self.noun} for {k} dollars each."
        self.noun = "dollars"
        self.add("*", k, "price", sentence)
        self.question = f"How many dollars does {self.who} get?"
        self.finished = True
        return True

    def distract(self) -> tuple[int, ...]:
        """Puts one sentence with a number that must be ignored among the others; most of them mislead."""
        rng, k, other = self.rng, self.rng.randint(3, 99), self.names[0]
        thing = self.steps[0].noun
        sentence = rng.choice(
            [
                f"{other} is {k} years old.",
                f"{other} has {k} {thing}.",
                f"{self.hero} also has {k} {rng.choice([t for t in THINGS if t != thing])}.",
                f"Last year {self.hero} had {k} {thing}.",
            ]
        )
        self.sentences.insert(rng.randint(1, len(self.sentences)), sentence)
        return (k,)


def tell(rng: random.Random, n_steps: int) -> Story:
    """A random story of `n_steps` steps, all results between 2 and 999."""
    while True:
        teller = _Teller(rng)
        teller.open()
        while len(teller.steps) < n_steps and not teller.finished and teller.names:
            last = len(teller.steps) == n_steps - 1
            moves = [teller.gain, teller.lose, teller.compare]
            if last:
                moves += [teller.together, teller.share, teller.sell]
            rng.choice(moves)()
        if len(teller.steps) != n_steps or not all(2 <= r <= LARGEST for *_, r in evaluate(tuple(teller.steps))):
            continue
        if not teller.names:
            continue
        distractors = teller.distract() if rng.random() < 0.45 else ()
        return Story(" ".join([*teller.sentences, teller.question]), tuple(teller.steps), distractors)


def draw(rng: random.Random, split: str, weights: tuple[int, ...] = (1, 2, 3, 4)) -> Story:
    """A random story of the given split; `weights` are those of one, two, three and four steps."""
    while True:
        story = tell(rng, rng.choices((1, 2, 3, 4), weights)[0])
        if story.split == split:
            return story
