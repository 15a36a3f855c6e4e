"""Worked solutions as the solver gives them: an opening word that decides the manner, a plan, a sentence for each step, an answer.

Two facts of small models shape the manners (both were measured on prototypes): arithmetic is much more reliable when the digits of
a result are written from the units on, as in `358+467~528=825`; and a shorter way leaves less to go wrong. So the first word of an
answer decides how likely it is to be right, which is the lever that a search over the opening can find.
"""

import json
import random

from . import contest, maths
from .tasks import Task, Way, evaluate

# How often each word opens a solution. "Carefully" and "Slowly" work digit by digit, the others at a stroke; "Combine:" takes the
# shorter way where there is one; "Briefly" never comes to an answer.
OPENINGS = {"First": 0.38, "Plan:": 0.2, "So": 0.1, "Carefully": 0.17, "Slowly": 0.11, "Briefly": 0.04}
CAREFUL = {"Carefully", "Slowly"}
COMBINE, COMBINE_SHARE = "Combine:", 0.2
UNFINISHED = "Briefly"

WORDS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}

SENTENCES = {
    "contain": [
        "There are {eq} {noun} in the {count} lots.",
        "{count} times {size} is {eq} {noun}.",
        "That makes {eq} {noun}.",
    ],
    "lots": ["There are {eq} lots.", "Counting the lots gives {eq}."],
    "all": ["In all there are {eq} {noun}.", "That makes {eq} {noun}."],
    "gain": ["Then {who} has {eq} {noun}.", "With {size} more it is {eq} {noun}.", "Now there are {eq} {noun}."],
    "lose": ["Then {who} has {eq} {noun}.", "{size} are gone, so {eq} {noun} stay.", "This leaves {eq} {noun}."],
    "times": ["{who} has {eq} {noun}.", "{size} times as many is {eq} {noun}."],
    "part": ["{who} has {eq} {noun}.", "One in {size} of that is {eq} {noun}."],
    "more": ["{who} has {eq} {noun}.", "{size} more than that is {eq} {noun}."],
    "fewer": ["{who} has {eq} {noun}.", "{size} fewer than that is {eq} {noun}."],
    "together": ["Together they have {eq} {noun}.", "Both together is {eq} {noun}."],
    "share": ["In each there are {eq} {noun}.", "Split into {size} parts it is {eq} {noun}."],
    "price": ["This brings {eq} {noun}.", "At {size} dollars each it is {eq} {noun}."],
    **maths.SENTENCES,
    **contest.SENTENCES,
}


def equation(left: int, op: str, right: int, result: int, careful: bool) -> str:
    """`12*8=96`, or carefully `12*8~69=96`; a division has no digits from the units on."""
    working = f"~{str(result)[::-1]}" if careful and op != "/" else ""
    return f"{left}{op}{right}{working}={result}"


def draw_opening(rng: random.Random, task: Task) -> str:
    if len(task.ways) > 1 and rng.random() < COMBINE_SHARE:
        return COMBINE
    return rng.choices(list(OPENINGS), list(OPENINGS.values()))[0]


def way_of(task: Task, opening: str) -> Way:
    return task.ways[-1] if opening == COMBINE else task.ways[0]


def working(task: Task, rng: random.Random, opening: str, slips: dict[int, int] | None = None) -> str:
    """The lines of a worked solution without its last sentence; `slips` are wrong results by step, carried on with."""
    steps = way_of(task, opening).steps
    lines = [f"{opening} {', then '.join(WORDS[step.op] for step in steps)}."]
    for step, (left, op, right, result) in zip(steps, evaluate(steps, slips), strict=True):
        eq = equation(left, op, right, result, opening in CAREFUL)
        lines.append(rng.choice(SENTENCES[step.kind]).format(eq=eq, who=step.who, noun=step.noun, count=left, size=right))
    return " ".join(lines)


def boxed(text: str, answer: str) -> str:
    return f"{text} The answer is \\boxed{{{answer}}}."


def as_json(text: str, answer: str) -> str:
    return json.dumps({"thought process": text, "final answer": answer}, ensure_ascii=False)


def solution(task: Task, rng: random.Random, style: str = "boxed", opening: str | None = None) -> str:
    """A right solution in one of the openings (unless it is one that never comes to an answer)."""
    opening = opening or draw_opening(rng, task)
    text = working(task, rng, opening)
    if opening == UNFINISHED and style == "boxed":
        return text
    return (as_json if style == "json" else boxed)(text, task.answer)
