r"""The calculations in an answer, each checked by exact arithmetic: `12 * 3 = 36` is right whatever the answer says in the end.

A check of the working, not of the answer: a plan may be wrong and all of its calculations right. What has words or unknowns in it is
left out.
"""

import ast
import operator
import re
from fractions import Fraction
from typing import NamedTuple

# Signs and LaTeX as the four operators; thousands' commas and currency off.
REWRITES = [
    (r"\\[dt]?frac\s*\{([0-9., ]{1,40})\}\s*\{([0-9., ]{1,40})\}", r"(\1/\2)"),
    (r"\\(?:times|cdot)(?![A-Za-z])|[×·]|(?<=[0-9)])[ ]?x[ ]?(?=[0-9(])", "*"),
    (r"\\div(?![A-Za-z])|÷", "/"),
    (r"\\approx(?![A-Za-z])", "≈"),
    (r"[−–]", "-"),
    (r"\\?\$|\\[()\[\],]|\\(?:left|right)(?![A-Za-z])", ""),
    (r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))", ""),
    (r"(?<=[0-9])\s?\\?%", "/100"),
]
REWRITES = [(re.compile(pattern), new) for pattern, new in REWRITES]
RUN = r"[0-9.()+*/ -]{1,120}"
WORKING = r"(?:~[0-9]*)?"  # digits from the units on, which the embedded models write before a result
# The result is looked at and left: in `2 + 3 = 5 + 1 = 6` it is where the next calculation begins.
EQUATION = re.compile(rf"(?P<left>{RUN}){WORKING}\s?(?P<sign>[=≈])(?=(?P<right>{RUN}))")
APART = re.compile(r"(?<=[0-9)]) +(?=[0-9(])|\.(?= |$)")  # between numbers that don't belong together
UNKNOWN = re.compile(r"(?:[\^\\!_)}]|(?<![A-Za-z])[A-Za-z])$|[A-Za-z]\($")  # x, f(, 3^, 5!
FIRST_NUMBER = re.compile(r"\s*(-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+))")
OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


class Calculation(NamedTuple):
    """A calculation with the result that the answer gives it, whether that is right, and its true value."""

    text: str
    right: bool
    value: Fraction


def calculations(text: str) -> list[Calculation]:
    """The calculations of an answer, in order.

    A result with decimals may be rounded. Where a calculation goes on behind `=` (`2 * 7 = 14 + 1 = 15`), its first number may be the
    result as well as all of it.
    """
    for pattern, new in REWRITES:
        text = pattern.sub(new, text)
    read = (_read(equation) for equation in EQUATION.finditer(text))
    return [calculation for calculation in read if calculation]


def _read(equation: re.Match) -> Calculation | None:
    left = _left(equation)
    value = _value(left)
    if value is None or not re.search(r"[0-9)] ?[-+*/]", left):
        return None
    right = APART.split(equation["right"])[0].strip()
    right = right if _value(right) is not None else right.rstrip("+-*/(). ")
    first = FIRST_NUMBER.match(right)
    results = [result for result in (right, first and first[1]) if result and _value(result) is not None]
    if not results:
        return None
    agreeing = [result for result in results if _agree(value, result, equation["sign"])]
    return Calculation(f"{left} {equation['sign']} {(agreeing or results)[-1]}", bool(agreeing), value)


def _left(equation: re.Match) -> str:
    """The left side without what stands before it: other numbers, open brackets, a list's bullet; empty where it lacks a beginning."""
    *others, left = APART.split(equation["left"])
    before = "".join(others) or equation.string[: equation.start()].rpartition("\n")[2]
    if UNKNOWN.search(before + "(" if left.startswith("(") else before) and not (others or left.startswith(" ")):
        return ""
    left = left.strip()
    while left.count("(") > left.count(")") and left.startswith("("):
        left = left[1:].lstrip()
    if left[:1] in "+-*/" and not before.strip():
        left = re.sub(r"^[-+*] +", "", left)  # a bullet
    return "" if re.match(r"[+*/]|- ", left) or (left.startswith("-") and UNKNOWN.search(before.rstrip())) else left


def _agree(value: Fraction, result: str, sign: str) -> bool:
    decimals = re.fullmatch(r"-?[0-9]*\.([0-9]+)", result)
    rounding = Fraction(1, 2 * 10 ** len(decimals[1])) if decimals else Fraction(1, 2) if sign == "≈" else 0
    return abs(value - _value(result)) <= rounding


def _value(expression: str) -> Fraction | None:
    """The exact value; None where it is no expression, or divides by zero."""
    try:
        return _evaluate(ast.parse(re.sub(r"(?<![\d.])0+(?=\d)", "", expression), mode="eval").body)
    except (SyntaxError, ValueError, KeyError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _evaluate(node: ast.expr) -> Fraction:
    if isinstance(node, ast.BinOp):
        return OPERATIONS[type(node.op)](_evaluate(node.left), _evaluate(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand)
    return Fraction(str(ast.literal_eval(node)))
