"""Word problems of one to four steps: the endless generator of the benchmark `tiny-gsm`.

Each step uses the result of the one before, so that no step can be skipped. Some stories mislead: what somebody else gets, or
had, or wants to have doesn't count, and whoever has 12 more than Amy leaves Amy with 12 fewer. Where things come in two lots of
the same size, two ways lead to the answer, one of them shorter.
"""

import random

from .tasks import LARGEST, Operand, Ref, Step, Task, Way, evaluate, sound

NAMES = ["Ben", "Mia", "Tom", "Ana", "Leo", "Zoe", "Sam", "Eva", "Max", "Ida", "Jon", "Amy"]
THINGS = ["pens", "cards", "shells", "coins", "stamps", "apples", "eggs", "books", "stones", "beads"]
CONTAINERS = ["boxes", "bags", "jars", "trays", "packs"]
SIGNS = {"times": "*", "part": "/", "more": "+", "fewer": "-"}
BACKWARDS = {"times": "part", "more": "fewer", "fewer": "more"}  # whoever has more than Amy leaves Amy with fewer


class _Teller:
    """Builds one story: keeps who is talked about, what they have, and the sentences so far."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.names = rng.sample(NAMES, 4)
        self.who = self.hero = self.names.pop()
        self.noun = rng.choice(THINGS)
        self.sentences: list[str] = []
        self.steps: list[Step] = []
        self.lots: tuple[int, int, int] | None = None
        self.start: int | None = None
        self.pair: tuple[str, str] | None = None
        self.question = f"How many {self.noun} does {self.who} have now?"
        self.finished = False

    @property
    def value(self) -> int:
        return evaluate(tuple(self.steps))[-1][3] if self.steps else self.start

    def add(self, op: str, right: Operand, kind: str, sentence: str = "") -> None:
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

    def open_with_lots(self) -> None:
        """`a` boxes and `b` bags with `k` in each: a*k + b*k, or (a + b)*k."""
        rng = self.rng
        first, second = rng.sample(CONTAINERS, 2)
        a, b, k = self.lots = *rng.sample(range(2, 21), 2), rng.randint(21, 40)
        self.sentences.append(f"{self.who} has {a} {first} and {b} {second} with {k} {self.noun} in each.")
        self.steps = [
            Step(a, "*", k, "contain", self.who, self.noun),
            Step(b, "*", k, "contain", self.who, self.noun),
            Step(Ref(0), "+", Ref(1), "all", self.who, self.noun),
        ]

    def ways(self) -> tuple[Way, ...]:
        """As told; and where there are two lots, the shorter way that counts the lots first."""
        steps, last = tuple(self.steps), Ref(len(self.steps) - 1)
        if self.lots is None:
            return (Way(steps, (last,)),)
        a, b, k = self.lots
        lots, content = Step(a, "+", b, "lots", self.who, "lots"), Step(Ref(0), "*", k, "contain", self.who, self.noun)
        rest = tuple(Step(_earlier(s.left), s.op, _earlier(s.right), s.kind, s.who, s.noun) for s in steps[3:])
        return (Way(steps, (last,)), Way((lots, content, *rest), (_earlier(last),)))

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
        kind, backwards = rng.choice(["times", "more", "fewer"]), rng.random() < 0.25
        k = rng.randint(2, 6) if kind == "times" else rng.randint(3, min(250, max(4, self.value - 2)))
        if backwards and kind == "times" and self.value % k:
            return False
        phrase = f"{k} times as many {self.noun} as" if kind == "times" else f"{k} {kind} {self.noun} than"
        one, two = (self.who, other) if backwards else (other, self.who)
        self.pair, self.who = (self.who, other), other
        self.question = f"How many {self.noun} does {other} have?"
        kind = BACKWARDS[kind] if backwards else kind
        self.add(SIGNS[kind], k, kind, f"{one} has {phrase} {two}.")
        return True

    def together(self) -> bool:
        if self.pair is None or self.steps[-1].kind not in SIGNS:
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

    def distract(self) -> int:
        """Puts one sentence with a number that must be ignored among the others; most of them mislead. Returns the number."""
        rng, k, other = self.rng, self.rng.randint(3, 99), self.names[0]
        thing = self.steps[0].noun
        sentence = rng.choice(
            [
                f"{other} is {k} years old.",
                f"{other} has {k} {thing}.",
                f"Then {other} {rng.choice(['buys', 'finds', 'loses'])} {k} {thing}.",
                f"{self.hero} also has {k} {rng.choice([t for t in THINGS if t != thing])}.",
                f"{self.hero} wants {k} more {thing}.",
                f"Last year {self.hero} had {k} {thing}.",
            ]
        )
        self.sentences.insert(rng.randint(1, len(self.sentences)), sentence)
        return k


def _earlier(operand: Operand) -> Operand:
    return Ref(operand.step - 1) if isinstance(operand, Ref) else operand


def tell(rng: random.Random, n_steps: int) -> Task:
    """A random story of `n_steps` steps, all results between 2 and 999."""
    while True:
        teller = _Teller(rng)
        teller.open_with_lots() if n_steps > 2 and rng.random() < 0.2 else teller.open()
        while len(teller.steps) < n_steps and not teller.finished and teller.names:
            moves = [teller.gain, teller.lose, teller.compare]
            if len(teller.steps) == n_steps - 1:
                moves += [teller.together, teller.share, teller.sell]
            rng.choice(moves)()
        if len(teller.steps) != n_steps or not teller.names:
            continue
        if not all(2 <= r <= LARGEST for *_, r in evaluate(tuple(teller.steps))):
            continue
        distractors = tuple(teller.distract() for _ in range(rng.choices((0, 1, 2), (0.5, 0.38, 0.12))[0]))
        story = Task("tiny-gsm", " ".join([*teller.sentences, teller.question]), teller.ways(), distractors=distractors)
        if sound(story):
            return story


def draw(rng: random.Random, split: str, weights: tuple[int, ...] = (1, 2, 3, 4)) -> Task:
    """A random story of the given split; `weights` are those of one, two, three and four steps."""
    while True:
        story = tell(rng, rng.choices((1, 2, 3, 4), weights)[0])
        if story.split == split:
            return story
