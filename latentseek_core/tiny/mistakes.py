"""Wrong solutions whose mistake is known: slips, misreadings, wrong boxes, answers broken off. A verifier learns from them."""

import random

from .tasks import LARGEST, Ref, Step, Task, Way, calculate, evaluate
from .worked import UNFINISHED, as_json, boxed, draw_opening, way_of, working

# What a step becomes when it is read the wrong way round.
TURNED = {"gain": "lose", "lose": "gain", "more": "fewer", "fewer": "more", "times": "part", "part": "times"}
OPPOSITE = {"+": "-", "-": "+", "*": "/", "/": "*"}


def near_miss(rng: random.Random, value: int) -> int:
    """A wrong number of the kind that slips give: one digit off, or off by a round amount; sometimes anything at all."""
    while True:
        kind = rng.random()
        if kind < 0.5:
            digits = list(str(value))
            digits[rng.randrange(len(digits))] = str(rng.randint(0, 9))
            wrong = int("".join(digits))
        elif kind < 0.85:
            wrong = value + rng.choice([-1, 1, -2, 2, -10, 10, -9, 9, -20, 20, -100, 100])
        else:
            wrong = rng.randint(2, LARGEST)
        if wrong != value and 2 <= wrong <= LARGEST:
            return wrong


def wrong_number(rng: random.Random, value: int, random_share: float) -> int:
    """A wrong claim: a random number with chance `random_share`, else a near miss."""
    if rng.random() >= random_share:
        return near_miss(rng, value)
    claimed = rng.randint(2, LARGEST)
    return claimed if claimed != value else near_miss(rng, value)


def draw_slips(way: Way, rng: random.Random, random_share: float) -> dict[int, int]:
    """One or two wrong results, by step; later steps carry on with them. Empty if none fits."""
    slips: dict[int, int] = {}
    for index in sorted(rng.sample(range(len(way.steps)), min(len(way.steps), 1 if rng.random() < 0.7 else 2))):
        left, op, right, _ = evaluate(way.steps, slips)[index]
        slips[index] = wrong_number(rng, max(2, calculate(left, op, right)), random_share)
    return slips if all(1 <= result <= LARGEST for *_, result in evaluate(way.steps, slips)) else {}


def misread(task: Task, rng: random.Random) -> Task | None:
    """The task as someone takes it who missed something: a step left out, turned round, or done with a wrong number. None if that
    gives nothing that could be worked out."""
    steps = list(task.steps)
    index = rng.randrange(len(steps))
    step, kind = steps[index], rng.choice(["drop", "turn", "number"])
    linear = all(s.left == Ref(i - 1) for i, s in enumerate(steps) if i) and not any(isinstance(s.right, Ref) for s in steps)
    if kind == "drop" and linear and index:
        del steps[index]
        steps[index:] = [Step(Ref(i - 1), s.op, s.right, s.kind, s.who, s.noun) for i, s in enumerate(steps) if i >= index]
    elif kind == "turn" and step.kind in TURNED:
        steps[index] = Step(step.left, OPPOSITE[step.op], step.right, TURNED[step.kind], step.who, step.noun)
    elif kind == "number" and not isinstance(step.right, Ref):
        others = task.distractors or tuple(s.right for s in steps if not isinstance(s.right, Ref))
        steps[index] = Step(step.left, step.op, rng.choice(others), step.kind, step.who, step.noun)
    moved = {Ref(len(task.steps) - 1): Ref(len(steps) - 1)}
    wrong = Way(tuple(steps), tuple(moved.get(x, x) for x in task.ways[0].final))
    fits = all(2 <= result <= LARGEST and (op != "/" or left == right * result) for left, op, right, result in evaluate(steps))
    same = any(wrong.steps == way.steps for way in task.ways)
    return None if same or not fits else Task(task.benchmark, task.question, (wrong,), task.form)


def flawed_answer(task: Task, rng: random.Random, style: str, random_share: float) -> str:
    """An answer to a task: right, with slips, misread, with a wrong box, with two, or with none."""
    kind = rng.choices(["right", "slip", "misread", "box", "two", "broken"], [0.36, 0.3, 0.18, 0.05, 0.04, 0.07])[0]
    told = (misread(task, rng) or task) if kind == "misread" else task
    opening = draw_opening(rng, told)
    way = way_of(told, opening)
    slips = draw_slips(way, rng, random_share) if kind == "slip" else {}
    text, write = working(told, rng, opening, slips), as_json if style == "json" else boxed
    if kind == "broken" or (opening == UNFINISHED and style == "boxed"):
        words = text.split()
        return text if rng.random() < 0.5 else " ".join(words[: rng.randint(3, len(words))])
    if kind == "box":
        *_, (_, _, _, last) = evaluate(way.steps)
        slips = {len(way.steps) - 1: near_miss(rng, last)}
    answer = write(text, told.write(way, slips))
    if kind == "two" and style == "boxed":
        answer = boxed(answer, told.write(way, {len(way.steps) - 1: near_miss(rng, 20)}))
    return answer
