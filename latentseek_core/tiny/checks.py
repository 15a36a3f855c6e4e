"""Checks as the verifier makes them, and what they must come out at.

A model that has to judge a number must first work it out before it sees the claim, then compare digit against digit from the units
on, as in `358+467~528 claim 826 56n22y88y no`: judging at a glance, small models learn how hard a problem looks and no more. Likewise
with what a question wants: number after number it is written down what to do with it, before the answer is looked at; otherwise the
answer's own plan is taken for the right one.
"""

import json
import re

from .tasks import Equation, Operand, Ref, Step, Task, Way, calculate, evaluate

CHECKS = ("answer_correct", "understanding_check", "calculation_check", "answer_completeness")
ATTEMPT = re.compile(r"\S*=\S*")
EQUATION = re.compile(r"(\d+)([-+*/])(\d+)(?:~\d+)?=(\d+)")
BOXED = re.compile(r'\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}|"final answer": ("(?:[^"\\]|\\.)*")')

Checked = tuple[str, bool]


def attempts(answer: str) -> list[Equation | None]:
    """What stands around each equals sign of an answer: `(left, op, right, claimed result)`, or None where it is no equation
    (`49-3==16`, `147*2=#294`)."""
    found = [EQUATION.fullmatch(text.strip('.,;:"')) for text in ATTEMPT.findall(answer)]
    return [(int(m[1]), m[2], int(m[3]), int(m[4])) if m else None for m in found]


def stated_answers(answer: str) -> list[str]:
    """What stands in the boxes, or in the JSON answer, each value once."""
    found = [boxed or _unquoted(quoted) for boxed, quoted in BOXED.findall(answer)]
    return list(dict.fromkeys(text for text in found if text))


def _unquoted(quoted: str) -> str:
    try:
        return json.loads(quoted)
    except json.JSONDecodeError:
        return quoted.strip('"')


def digit_pairs(true: int, claimed: int) -> Checked:
    """Two numbers compared digit by digit from the units on, three digits at least: `12n00y00y`."""
    width = max(3, len(str(true)), len(str(claimed)))
    pairs = zip(f"{true:0{width}d}"[::-1], f"{claimed:0{width}d}"[::-1], strict=True)
    return "".join(f"{a}{b}{'y' if a == b else 'n'}" for a, b in pairs), true == claimed


def check_equation(left: int, op: str, right: int, claimed: int) -> Checked:
    """One line of the calculation check. A division is checked by multiplying the claimed result back."""
    if op == "/":
        left, op, right, claimed = claimed, "*", right, left
    true = calculate(left, op, right)
    pairs, same = digit_pairs(abs(true), claimed)
    same = same and true >= 0
    return f"{left}{op}{right}~{str(abs(true))[::-1]} claim {claimed} {pairs} {'yes' if same else 'no'}", same


def _verdict(lines: list[str], approved: bool) -> Checked:
    return " ".join([*(f"{line};" for line in lines), f"verdict: {approved}"]), approved


def check_calculations(answer: str) -> Checked:
    checked = [check_equation(*eq) if eq else ("broken no", False) for eq in attempts(answer)]
    return _verdict([line for line, _ in checked], all(same for _, same in checked))


def check_completeness(answer: str) -> Checked:
    """There is one definite final answer: not none, and not two."""
    stated = stated_answers(answer)
    return _verdict([f"box {text}" for text in stated] or ["box none"], len(stated) == 1)


def reading(task: Task, way: Way) -> str:
    """What a question wants, in the order of its numbers: `read 12*8 skip 31 _+35`."""
    plan = _needed(way)
    if task.benchmark != "tiny-gsm":
        return " ".join(["read", *plan])
    missing, parts = [[x for x in (step.left, step.right) if not isinstance(x, Ref)] for step in way.steps], ["read"]
    for number in map(int, re.findall(r"\d+", task.question)):
        wanting = next((index for index, numbers in enumerate(missing) if number in numbers), None)
        if wanting is None:
            parts += ["skip", str(number)]
            continue
        missing[wanting].remove(number)
        if [step.kind for step in way.steps[wanting : wanting + 2]] == ["contain"] * 2 and number == way.steps[wanting].right:
            missing[wanting + 1].remove(number)  # two lots with as much in each: the text says it once
        while plan and not missing[-len(plan)]:
            parts.append(plan.pop(0))
    return " ".join([*parts, *plan])


def check_answer(task: Task, answer: str) -> Checked:
    """Works the question out anew on the shortest way, from the units on, and compares each number of the stated answer."""
    way, stated = task.ways[-1], stated_answers(answer)
    lines = [reading(task, way)]
    lines += [
        f"{left}{op}{right}={result}" if op == "/" else f"{left}{op}{right}~{str(result)[::-1]}"
        for left, op, right, result in evaluate(way.steps)
    ]
    if len(stated) != 1:
        return _verdict([*lines, "box none" if not stated else "box two"], False)
    true, claimed = re.findall(r"\d+", task.answer), re.findall(r"\d+", stated[0])
    if re.sub(r"\d+", "0", task.answer) != re.sub(r"\d+", "0", stated[0]) or max(map(len, claimed), default=9) > 6:
        return _verdict([*lines, "box other"], False)
    compared = [digit_pairs(int(t), int(c)) for t, c in zip(true, claimed, strict=True)]
    shown = " ".join(f"{c} {pairs}" for c, (pairs, _) in zip(claimed, compared, strict=True))
    return _verdict([*lines, f"box {shown}"], all(same for _, same in compared))


def _operand(value: int, results: list[int], expected: Operand | None) -> str:
    """A number as the plan shows it: `_` for the last result, `_2` for the one before it, else the number itself. A number that
    could be either is what the task wants it to be."""
    behind = [len(results) - index for index, result in enumerate(results) if result == value][::-1]
    if isinstance(expected, Ref):
        wanted = len(results) - expected.step
        behind = [wanted] if wanted in behind else behind
    elif expected == value:
        behind = []
    return ("_" if behind[0] == 1 else f"_{behind[0]}") if behind else str(value)


def _plan(equations: list[Equation], wanted: Way) -> list[str]:
    """What each step does to what: `12*8`, `_+35`, `_2+_`."""
    results, plan = [], []
    for index, (left, op, right, result) in enumerate(equations):
        step = wanted.steps[index] if index < len(wanted.steps) else None
        a, b = _operand(left, results, step.left if step else None), _operand(right, results, step.right if step else None)
        if step and op in "+*" and (a, b) != _shown(step, index) and (b, a) == _shown(step, index):
            a, b = b, a
        plan.append(f"{a}{op}{b}")
        results.append(result)
    return plan


def _needed(way: Way) -> list[str]:
    """The plan of a way, as `_plan` writes that of an answer."""
    return ["{0}{2}{1}".format(*_shown(step, index), step.op) for index, step in enumerate(way.steps)]


def _shown(step: Step, index: int) -> tuple[str, str]:
    def one(x: Operand) -> str:
        return str(x) if not isinstance(x, Ref) else "_" if x.step == index - 1 else f"_{index - x.step}"

    return one(step.left), one(step.right)


def check_understanding(task: Task, answer: str) -> Checked:
    """Reads the question, then compares what the answer does, step by step, on the way that it is nearest to."""
    used_equations = [eq for eq in attempts(answer) if eq]

    def compared(way: Way) -> list[tuple[str, bool]]:
        needed, used = _needed(way), _plan(used_equations, way)
        length = max(len(needed), len(used))
        return [(u, n == u) for n, u in zip(*(plan + ["none"] * (length - len(plan)) for plan in (needed, used)), strict=True)]

    way = max(task.ways, key=lambda way: sum(same for _, same in compared(way)) / len(compared(way)))
    lines = [f"used {u} {'yes' if same else 'no'}" for u, same in compared(way)]
    return _verdict([reading(task, way), *lines], all(same for _, same in compared(way)))


def check(name: str, task: Task, answer: str) -> Checked:
    """The reply of a verifier that makes no mistake, and its verdict, for one of `CHECKS`."""
    if name == "calculation_check":
        return check_calculations(answer)
    if name == "answer_completeness":
        return check_completeness(answer)
    return check_answer(task, answer) if name == "answer_correct" else check_understanding(task, answer)
