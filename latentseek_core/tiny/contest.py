"""Longer problems with integer answers from 0 to 999: the endless generator of the benchmark `tiny-aime`.

Like those of AIME each problem combines two ideas, such as an equation whose solution is then an exponent.
"""

import random
from collections.abc import Callable
from dataclasses import replace

from .maths import R0, R1, R2, R3, R4, coprime, written
from .tasks import Task, sound

SENTENCES = {
    "contest-sum": ["So $m + n$ is {eq}."],
    "contest-product": ["So $xy$ is {eq}."],
    "contest-handshakes": ["Each guest greets the others: {eq}."],
}


def exponent(rng: random.Random) -> Task:
    """An equation, then the number of divisors."""
    x, a, b, k = rng.randint(2, 20), rng.randint(2, 9), rng.randint(2, 90), rng.randint(2, 20)
    steps = [(a * x + b, "-", b, "algebra-undo"), (R0, "/", a, "algebra-solve"), (R1, "+", 1, "number-exponent")]
    steps += [(k, "+", 1, "number-exponent"), (R2, "*", R3, "number-combine")]
    return written(f"Let $x$ solve ${a}x + {b} = {a * x + b}$. How many divisors does $2^x \\cdot 3^{{{k}}}$ have?", *steps)


def party(rng: random.Random) -> Task:
    """A term of a sequence, then handshakes."""
    a, d, k = rng.randint(2, 20), rng.randint(2, 9), rng.randint(3, 12)
    steps = [(k, "-", 1, "counting-others"), (R0, "*", d, "sequence-times"), (a, "+", R1, "sequence-grow")]
    steps += [(R2, "-", 1, "counting-others"), (R2, "*", R3, "contest-handshakes"), (R4, "/", 2, "counting-twice")]
    question = f"A sequence starts at {a} and grows by {d}. Term {k} is the number of guests at a party."
    return written(f"{question} Each two shake hands once. How many handshakes are there?", *steps)


def multiple(rng: random.Random) -> Task:
    """A least common multiple, then a percentage."""
    g, p, percent = 10 * rng.randint(1, 6), rng.randint(2, 9), 10 * rng.randint(2, 30)
    a, b = g * p, g * coprime(rng, p, 12, smallest=2)
    steps = [(a, "/", g, "number-divide"), (R0, "*", b, "number-combine"), (R1, "/", 10, "fraction-one")]
    steps += [(percent, "/", 10, "number-divide"), (R2, "*", R3, "fraction-parts")]
    return written(f"The gcd of {a} and {b} is {g}. What is ${percent}\\%$ of their lcm?", *steps)


def wardrobe(rng: random.Random) -> Task:
    """A system of two equations, then choices."""
    y, k = rng.randint(2, 20), rng.randint(2, 9)
    x = y + rng.randint(1, 20)
    steps = [(x + y, "+", x - y, "algebra-plus"), (R0, "/", 2, "algebra-solve"), (x + y, "-", R1, "algebra-undo")]
    steps += [(R1, "*", R2, "contest-product"), (R3, "*", k, "counting-choices")]
    question = (
        f"A meal is one of $x$ soups, one of $y$ mains and one of {k} cakes, where $x + y = {x + y}$ and $x - y = {x - y}$."
    )
    return written(f"{question} How many meals are there?", *steps)


def lottery(rng: random.Random) -> Task:
    """A probability in lowest terms, then the sum of its parts."""
    factor, total = rng.randint(2, 12), rng.randint(6, 60)
    red = coprime(rng, total, total - 3)
    red, total = red * factor, total * factor
    blue = rng.randint(1, total - red - 1)
    green = total - red - blue
    steps = [(red, "+", blue, "counting-all"), (R0, "+", green, "counting-all")]
    steps += [(red, "/", factor, "fraction-lowest"), (R1, "/", factor, "fraction-lowest"), (R2, "+", R3, "contest-sum")]
    question = (
        f"A bag has {red} red, {blue} blue and {green} green balls. Red has probability $\\frac{{m}}{{n}}$ in lowest terms."
    )
    return written(f"{question} What is $m + n$?", *steps)


def numeral(rng: random.Random) -> Task:
    """A number in another base, then a term of a sequence."""
    base, a, k = rng.randint(4, 9), rng.randint(2, 99), rng.randint(3, 20)
    u, v = rng.randint(1, base - 1), rng.randint(1, base - 1)
    steps = [(u, "*", base, "number-base"), (R0, "+", v, "number-digit"), (k, "-", 1, "counting-others")]
    steps += [(R1, "*", R2, "sequence-times"), (a, "+", R3, "sequence-grow")]
    question = f"A sequence starts at {a} and grows by $({u}{v})_{base}$."
    return written(f"{question} What is term {k} in base ten?", *steps)


KINDS: tuple[Callable[[random.Random], Task], ...] = (exponent, party, multiple, wardrobe, lottery, numeral)


def draw(rng: random.Random, split: str) -> Task:
    """A random task of the given split."""
    while True:
        kind = rng.choice(KINDS)
        task = kind(rng)
        if task.split == split and sound(task):
            return replace(task, benchmark="tiny-aime", subject=kind.__name__, level=5)
