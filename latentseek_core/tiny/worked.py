"""What is written about a story: worked solutions as the solver gives them and checks as the verifier gives them.

Two facts of small models shape the formats (both were measured on prototypes). Arithmetic is much more reliable when
the digits of a result are written from the units on, as in `358+467~528=825`; and a model that has to judge a number
must first work it out before it sees the claim, then compare digit against digit, as in `358+467~528 claim 826 56n22y88y no`.
"""

import random
import re

from ..problems import Problem
from .stories import Ref, Step, Story, calculate, draw, evaluate

# The first word decides how the rest is worked out: these add and multiply digit by digit ("carefully"), the others at a stroke.
CAREFUL_OPENINGS = {"Carefully": 0.18, "Slowly": 0.12}
DIRECT_OPENINGS = {"First": 0.38, "Plan:": 0.2, "So": 0.12}
OPENINGS = DIRECT_OPENINGS | CAREFUL_OPENINGS

WORDS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}

SENTENCES = {
    "contain": [
        "There are {eq} {noun} in the {count} lots.",
        "{count} times {size} is {eq} {noun}.",
        "That makes {eq} {noun}.",
    ],
    "gain": ["Then {who} has {eq} {noun}.", "With {size} more it is {eq} {noun}.", "Now there are {eq} {noun}."],
    "lose": ["Then {who} has {eq} {noun}.", "{size} are gone, so {eq} {noun} stay.", "This leaves {eq} {noun}."],
    "times": ["{who} has {eq} {noun}.", "{size} times as many is {eq} {noun}."],
    "more": ["{who} has {eq} {noun}.", "{size} more than that is {eq} {noun}."],
    "fewer": ["{who} has {eq} {noun}.", "{size} fewer than that is {eq} {noun}."],
    "together": ["Together they have {eq} {noun}.", "Both together is {eq} {noun}."],
    "share": ["In each there are {eq} {noun}.", "Split into {size} parts it is {eq} {noun}."],
    "price": ["This brings {eq} {noun}.", "At {size} dollars each it is {eq} {noun}."],
}

# What a step becomes when it is read the wrong way round.
TURNED = {"gain": "lose", "lose": "gain", "more": "fewer", "fewer": "more"}

CHECKS = ("answer_correct", "understanding_check", "calculation_check", "answer_completeness")
EQUATION = re.compile(r"(\d+)([-+*/])(\d+)(?:~\d+)?=(\d+)")
BOXED = re.compile(r"\\boxed\{(\d+)\}|\"final answer\": \"(\d+)\"")


def equation(left: int, op: str, right: int, result: int, careful: bool) -> str:
    """`12*8=96`, or carefully `12*8~69=96`; a division has no digits from the units on."""
    working = f"~{str(result)[::-1]}" if careful and op != "/" else ""
    return f"{left}{op}{right}{working}={result}"


def _in_words(steps: tuple[Step, ...]) -> str:
    words = [WORDS[step.op] for step in steps]
    return words[0] + "".join(f", then {word}" for word in words[1:]) + "."


def draw_opening(rng: random.Random) -> str:
    return rng.choices(list(OPENINGS), list(OPENINGS.values()))[0]


def working(story: Story, rng: random.Random, opening: str | None = None, slips: dict[int, int] | None = None) -> str:
    """The lines of a worked solution without its last sentence; `slips` are wrong results by step, carried on with."""
    opening = opening or draw_opening(rng)
    lines = [f"{opening} {_in_words(story.steps)}"]
    for step, (left, op, right, result) in zip(story.steps, evaluate(story.steps, slips), strict=True):
        line = rng.choice(SENTENCES[step.kind])
        eq = equation(left, op, right, result, opening in CAREFUL_OPENINGS)
        lines.append(line.format(eq=eq, who=step.who, noun=step.noun, count=left, size=right))
    return " ".join(lines)


def boxed(text: str, value: int) -> str:
    return f"{text} The answer is \\boxed{{{value}}}."


def as_json(text: str, value: int) -> str:
    return f'{{"thought process": "{text}", "final answer": "{value}"}}'


def digit_pairs(true: int, claimed: int) -> tuple[str, bool]:
    """Two numbers compared digit by digit from the units on, three digits at least: `12n00y00y`."""
    width = max(3, len(str(true)), len(str(claimed)))
    pairs = zip(f"{true:0{width}d}"[::-1], f"{claimed:0{width}d}"[::-1], strict=True)
    return "".join(f"{a}{b}{'y' if a == b else 'n'}" for a, b in pairs), true == claimed


def check_equation(left: int, op: str, right: int, claimed: int) -> tuple[str, bool]:
    """One line of the calculation check. A division is checked by multiplying the claimed result back."""
    if op == "/":
        left, op, right, claimed = claimed, "*", right, left
    true = calculate(left, op, right)
    pairs, same = digit_pairs(abs(true), claimed)
    same = same and true >= 0
    return f"{left}{op}{right}~{str(abs(true))[::-1]} claim {claimed} {pairs} {'yes' if same else 'no'}", same


def _verdict(lines: list[str], approved: bool) -> tuple[str, bool]:
    return " ".join([*(f"{line};" for line in lines), f"verdict: {approved}"]), approved


def calculations(answer: str) -> list[tuple[int, str, int, int]]:
    """The equations in an answer, `(left, op, right, claimed result)` each."""
    return [(int(a), op, int(b), int(c)) for a, op, b, c in EQUATION.findall(answer)]


def stated_answer(answer: str) -> int | None:
    """The last number in a box, or in the JSON answer."""
    found = BOXED.findall(answer)
    return int(found[-1][0] or found[-1][1]) if found else None


def check_calculations(answer: str) -> tuple[str, bool]:
    checked = [check_equation(*eq) for eq in calculations(answer)]
    return _verdict([line for line, _ in checked], all(same for _, same in checked))


def check_completeness(answer: str) -> tuple[str, bool]:
    value = stated_answer(answer)
    return _verdict([f"box {'none' if value is None else value}"], value is not None)


def check_answer(story: Story, answer: str) -> tuple[str, bool]:
    """Works the question out anew, from the units on, and compares the stated answer with it."""
    lines = [
        equation(left, op, right, result, careful=op != "/").rsplit("=" if op != "/" else "\0", 1)[0]
        for left, op, right, result in evaluate(story.steps)
    ]
    value = stated_answer(answer)
    if value is None:
        return _verdict([*lines, "box none"], False)
    pairs, same = digit_pairs(story.answer, value)
    return _verdict([*lines, f"box {value} {pairs}"], same)


def _plan(story: Story) -> list[str]:
    """What each step does to the number at hand: `12*8`, `+35`, `+both`."""
    plan = []
    for index, step in enumerate(story.steps):
        left = "" if index else str(step.left)
        right = "both" if step.kind == "together" else str(step.right)
        plan.append(f"{left}{step.op}{right}")
    return plan


def _plan_of(answer: str, together: bool) -> list[str]:
    """The same, read off the equations of an answer."""
    used = calculations(answer)
    plan = [f"{'' if index else left}{op}{right}" for index, (left, op, right, _) in enumerate(used)]
    if together and len(plan) > 1 and used[-1][1] == "+" and used[-1][2] == used[-2][0]:
        plan[-1] = "+both"
    return plan


def check_understanding(story: Story, answer: str) -> tuple[str, bool]:
    """Compares what the question asks for with what the answer does, step by step."""
    needed, used = _plan(story), _plan_of(answer, story.steps[-1].kind == "together")
    length = max(len(needed), len(used))
    needed, used = (plan + ["none"] * (length - len(plan)) for plan in (needed, used))
    lines = [f"need {n} used {u} {'yes' if n == u else 'no'}" for n, u in zip(needed, used, strict=True)]
    return _verdict(lines, needed == used)


def check(name: str, story: Story, answer: str) -> tuple[str, bool]:
    """The reply of a verifier that makes no mistake, and its verdict, for one of `CHECKS`."""
    if name == "calculation_check":
        return check_calculations(answer)
    if name == "answer_completeness":
        return check_completeness(answer)
    return check_answer(story, answer) if name == "answer_correct" else check_understanding(story, answer)


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
            wrong = rng.randint(2, 999)
        if wrong != value and 2 <= wrong <= 999:
            return wrong


def misread(story: Story, rng: random.Random) -> Story | None:
    """The story as someone reads it who missed something: a step left out, turned round, or done with the wrong number."""
    steps, index = list(story.steps), rng.randrange(len(story.steps))
    step = steps[index]
    kind = rng.choice(["drop", "turn", "number"])
    if kind == "drop" and len(steps) > 1 and isinstance(step.left, Ref) and not isinstance(steps[-1].right, Ref):
        del steps[index]
        steps[index:] = [Step(Ref(i - 1), s.op, s.right, s.kind, s.who, s.noun) for i, s in enumerate(steps) if i >= index]
    elif kind == "turn" and step.kind in TURNED:
        steps[index] = Step(step.left, "-" if step.op == "+" else "+", step.right, TURNED[step.kind], step.who, step.noun)
    elif kind == "number" and story.distractors and not isinstance(step.right, Ref):
        steps[index] = Step(step.left, step.op, rng.choice(story.distractors), step.kind, step.who, step.noun)
    wrong = Story(story.question, tuple(steps), story.distractors)
    fits = all(2 <= result <= 999 for *_, result in evaluate(wrong.steps))
    return wrong if fits and wrong.steps != story.steps else None


def draw_stories(split: str, count: int, seed: int) -> list[Story]:
    """Stories of a split, by seed, no program twice."""
    rng, stories = random.Random(f"{split}/{seed}"), {}
    while len(stories) < count:
        story = draw(rng, split)
        stories.setdefault(story.program, story)
    return list(stories.values())


def draw_problems(split: str, count: int, seed: int) -> list[Problem]:
    """The same as problems; the worked solution goes carefully, step by step."""
    rng, problems = random.Random(f"{split}/{seed}/solutions"), []
    for index, story in enumerate(draw_stories(split, count, seed)):
        solution = working(story, rng, opening="Carefully")
        problems.append(Problem(f"{split}-{index}", story.question, str(story.answer), "tiny-gsm", solution))
    return problems
