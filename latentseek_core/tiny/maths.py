"""Short mathematics problems with a program behind each: the endless generator of the benchmark `tiny-math`.

Like MATH-500 it has six subjects and five levels (from one step with small numbers to four or so with large ones), and its
answers are not only integers: fractions in lowest terms, percentages and pairs are what a grader has to read rightly.
"""

import math
import random
from collections.abc import Callable
from dataclasses import replace

from .tasks import Operand, Ref, Step, Task, Way, evaluate, sound

LEVELS = (1, 2, 3, 4, 5)
FRACTION, PERCENT, PAIR = r"\frac{{{}}}{{{}}}", r"{}\%", "({}, {})"
R0, R1, R2, R3, R4 = (Ref(index) for index in range(5))

# How each kind of step is told; every kind has one operation.
SENTENCES = {
    "algebra-undo": ["Take away {size}: {eq}.", "Move {size} over: {eq}."],
    "algebra-solve": ["Divide by {size}: {eq}.", "Over {size} it is {eq}."],
    "algebra-side": ["The x on both sides leave {eq}."],
    "algebra-times": ["Times {size} is {eq}."],
    "algebra-plus": ["Add {size}: {eq}.", "Plus {size} is {eq}."],
    "number-exponent": ["The exponent {count} gives {eq}."],
    "number-combine": ["Multiply: {eq}.", "Together it is {eq}."],
    "number-divide": ["{count} by {size} is {eq}.", "Divide: {eq}."],
    "number-minus": ["The difference is {eq}."],
    "number-digit": ["Add {size}: {eq}.", "With {size} it is {eq}."],
    "number-base": ["Times the base: {eq}."],
    "fraction-multiply": ["The tops make {eq}.", "Above it is {eq}."],
    "fraction-bottom": ["The bottoms make {eq}.", "Below it is {eq}."],
    "fraction-add": ["Add the tops: {eq}.", "The tops add to {eq}."],
    "fraction-lowest": ["In lowest terms: {eq}.", "Cancel {size}: {eq}."],
    "fraction-one": ["One part is {eq}.", "Split into {size}: {eq}."],
    "fraction-parts": ["So many parts are {eq}.", "Take {size} times: {eq}."],
    "percent-less": ["This leaves {eq}.", "Without it: {eq}."],
    "percent-more": ["This raises it to {eq}.", "With it: {eq}."],
    "counting-choices": ["The choices make {eq}.", "For each one: {eq}."],
    "counting-all": ["In all it is {eq}.", "Altogether: {eq}."],
    "counting-others": ["The others are {eq}.", "One less: {eq}."],
    "counting-twice": ["Each pair was counted twice: {eq}."],
    "sequence-gap": ["The gap is {eq}.", "From one to the other: {eq}."],
    "sequence-grow": ["It grows by {size}: {eq}.", "Go on by {size}: {eq}."],
    "sequence-times": ["It is {size} times as much: {eq}."],
    "sequence-ratio": ["The ratio is {eq}.", "Divide: {eq}."],
}

Written = tuple[Operand, str, Operand, str]


def written(question: str, *steps: Written, final: tuple[Operand, ...] = (), form: str = "{}") -> Task:
    """A task with one way; its answer is the last result unless `final` says otherwise."""
    return Task("tiny-math", question, (Way(tuple(Step(*step) for step in steps), final or (Ref(len(steps) - 1),)),), form)


def fraction(question: str, top: Operand, bottom: Operand, *steps: Written) -> Task:
    """A task whose answer is `top` over `bottom` after these steps; what it takes to get to lowest terms is appended."""
    results = [result for *_, result in evaluate(tuple(Step(*step) for step in steps))]
    above, below = (results[x.step] if isinstance(x, Ref) else x for x in (top, bottom))
    factor = math.gcd(above, below)
    if factor == below:
        return written(question, *steps, (top, "/", bottom, "fraction-lowest"))
    if factor > 1:
        steps += tuple((x, "/", factor, "fraction-lowest") for x in (top, bottom))
        top, bottom = Ref(len(steps) - 2), Ref(len(steps) - 1)
    return written(question, *steps, final=(top, bottom), form=FRACTION)


def frac(top: int, bottom: int) -> str:
    return FRACTION.format(top, bottom)


def coprime(rng: random.Random, number: int, largest: int, smallest: int = 1) -> int:
    """A number in this range that has no factor in common with `number`."""
    return rng.choice([p for p in range(smallest, largest + 1) if math.gcd(p, number) == 1])


def equation(rng: random.Random, level: int) -> Task:
    n = rng.randint
    x, a, b = n(2, 25 + 5 * level), n(4, 12), n(2, 20 + 15 * level)
    c = n(2, a - 2)
    if level == 1:
        return written(f"Solve $x + {b} = {x + b}$.", (x + b, "-", b, "algebra-undo"))
    if level == 2:
        steps = (a * x + b, "-", b, "algebra-undo"), (R0, "/", a, "algebra-solve")
        return written(f"Solve ${a}x + {b} = {a * x + b}$.", *steps)
    if level == 3:
        d = (a - c) * x + b
        steps = (d, "-", b, "algebra-undo"), (a, "-", c, "algebra-side"), (R0, "/", R1, "algebra-solve")
        return written(f"Solve ${a}x + {b} = {c}x + {d}$.", *steps)
    if level == 4:
        d = a * (x + c) + b
        steps = (d, "-", b, "algebra-undo"), (R0, "/", a, "algebra-solve"), (R1, "-", c, "algebra-undo")
        return written(f"Solve ${a}(x + {c}) + {b} = {d}$.", *steps)
    d = (a - c) * x + a * b
    steps = (
        (a, "*", b, "algebra-times"),
        (d, "-", R0, "algebra-undo"),
        (a, "-", c, "algebra-side"),
        (R1, "/", R2, "algebra-solve"),
    )
    return written(f"Solve ${a}(x + {b}) = {c}x + {d}$.", *steps)


def ratio(rng: random.Random, level: int) -> Task:
    """Equations (or a slope) whose solution is a fraction."""
    n = rng.randint
    bottom, times = n(2, 8 + 2 * level), 1 if level == 1 else n(2, 4 + level)
    top, bottom = coprime(rng, bottom, 10 + 2 * level) * times, bottom * times
    x, y = n(2, 15 * level), n(2, 15 * level)
    rise = (top + y, "-", y, "algebra-undo")
    if level == 2:
        return fraction(f"Solve ${bottom}x = {top}$.", top, bottom)
    if level == 4:
        question = f"What is the slope of the line through $({x}, {y})$ and $({x + bottom}, {y + top})$?"
        return fraction(question, R0, R1, (top + y, "-", y, "sequence-gap"), (x + bottom, "-", x, "sequence-gap"))
    if level == 5:
        side = (bottom + x, "-", x, "algebra-side")
        return fraction(f"Solve ${bottom + x}x + {y} = {x}x + {top + y}$.", R0, R1, rise, side)
    return fraction(f"Solve ${bottom}x + {y} = {top + y}$.", R0, bottom, rise)


def pair(rng: random.Random, level: int) -> Task:
    """Points and systems of two equations."""
    n = rng.randint
    x, y, a = n(2, 20 + 10 * level), n(2, 20 + 10 * level), n(3, 9)
    if level <= 2:
        line, steps = f"y = {'' if level == 1 else a}x + {y}", [(x, "*", a, "algebra-times")] if level == 2 else []
        steps.append((R0 if steps else x, "+", y, "algebra-plus"))
        final = (x, Ref(level - 1))
        return written(f"Which point of the line ${line}$ has $x = {x}$?", *steps, final=final, form=PAIR)
    if level == 3:
        x += y
        steps = (x + y, "+", x - y, "algebra-plus"), (R0, "/", 2, "algebra-solve"), (x + y, "-", R1, "algebra-undo")
        return written(f"Find $(x, y)$ if $x + y = {x + y}$ and $x - y = {x - y}$.", *steps, final=(R1, R2), form=PAIR)
    if level == 4:
        u, v = x + 2 * n(1, 40), y + 2 * n(1, 40)
        steps = [(x, "+", u, "algebra-plus"), (R0, "/", 2, "algebra-solve")]
        steps += [(y, "+", v, "algebra-plus"), (R2, "/", 2, "algebra-solve")]
        return written(f"What is the midpoint of $({x}, {y})$ and $({u}, {v})$?", *steps, final=(R1, R3), form=PAIR)
    s, t = a * x + y, x + y
    steps = [(s, "-", t, "algebra-undo"), (a, "-", 1, "algebra-side")]
    steps += [(R0, "/", R1, "algebra-solve"), (t, "-", R2, "algebra-undo")]
    return written(f"Find $(x, y)$ if ${a}x + y = {s}$ and $x + y = {t}$.", *steps, final=(R2, R3), form=PAIR)


def divisors(rng: random.Random, level: int) -> Task:
    largest, count = {1: (60, 1), 2: (99, 1), 3: (12, 2), 4: (30, 2), 5: (9, 3)}[level]
    primes, exponents = sorted(rng.sample((2, 3, 5, 7), count)), [rng.randint(2, largest) for _ in range(count)]
    power = " \\cdot ".join(f"{p}^{{{e}}}" for p, e in zip(primes, exponents, strict=True))
    steps = [(e, "+", 1, "number-exponent") for e in exponents]
    if level == 2:
        return written(f"How many divisors does ${power} \\cdot 11$ have?", *steps, (R0, "*", 2, "number-combine"))
    steps += [(R0, "*", R1, "number-combine"), (R3, "*", R2, "number-combine")][: count - 1]
    return written(f"How many divisors does ${power}$ have?", *steps)


def common(rng: random.Random, level: int) -> Task:
    """Least common multiples, with the greatest common divisor given."""
    g, p = rng.randint(2, 9 + level), rng.randint(2, 7 + 2 * level)
    a, b = g * p, g * coprime(rng, p, 7 + 2 * level, smallest=2)
    given, lcm = f"The gcd of {a} and {b} is {g}.", a * b // g
    steps = [(a, "/", g, "number-divide"), (R0, "*", b, "number-combine")]
    if level == 1:
        return written(f"Two numbers have product {a * b} and gcd {g}. What is their lcm?", (a * b, "/", g, "number-divide"))
    if level == 2:
        return written(f"{given} What is their lcm?", *steps)
    if level == 3:
        return written(f"{given} What is their lcm minus their gcd?", *steps, (R1, "-", g, "number-minus"))
    if level == 4:
        limit = lcm * rng.randint(2, 12)
        return written(
            f"{given} How many numbers up to {limit} are multiples of both?", *steps, (limit, "/", R1, "number-divide")
        )
    steps += [(a, "+", b, "algebra-plus"), (R1, "-", R2, "number-minus")]
    return written(f"{given} By how much is their lcm larger than their sum?", *steps)


def numerals(rng: random.Random, level: int) -> Task:
    """Multiples up to a number, digits, and other bases."""
    n = rng.randint
    if level in (1, 3):
        d, low, more = n(3, 30), n(2, 20), n(2, 30)
        if level == 1:
            return written(f"How many multiples of {d} are there up to {d * low}?", (d * low, "/", d, "number-divide"))
        steps = (d * (low + more), "/", d, "number-divide"), (d * low, "/", d, "number-divide"), (R0, "-", R1, "number-minus")
        return written(f"How many multiples of {d} are above {d * low} and at most {d * (low + more)}?", *steps)
    base, k = n(4, 9), n(10, 99)
    u, v, w = (n(1, 9 if level == 2 else base - 1) for _ in range(3))
    if level == 2:
        steps = (u, "+", v, "number-digit"), (R0, "+", w, "number-digit")
        return written(f"What is the sum of the digits of {u}{v}{w}?", *steps)
    steps = [(u, "*", base, "number-base"), (R0, "+", v, "number-digit")]
    if level == 4:
        return written(f"What is $({u}{v})_{base} + {k}$ in base ten?", *steps, (R1, "+", k, "number-digit"))
    return written(
        f"What is $({u}{v}{w})_{base}$ in base ten?", *steps, (R1, "*", base, "number-base"), (R2, "+", w, "number-digit")
    )


def add(rng: random.Random, level: int) -> Task:
    n = rng.randint
    q, k = n(5, 30) if level < 3 else n(2, 5 + level), n(2, 6)
    if level == 1:
        top = coprime(rng, q, 30, smallest=2)
        part = n(1, top - 1)
        return fraction(f"What is ${frac(part, q)} + {frac(top - part, q)}$?", R0, q, (part, "+", top - part, "fraction-add"))
    if level == 2:
        r = coprime(rng, q, 30, smallest=2)
        steps = (q, "+", r, "fraction-add"), (q, "*", r, "fraction-bottom")
        return fraction(f"What is ${frac(1, q)} + {frac(1, r)}$?", R0, R1, *steps)
    if level == 3:
        r = q * k
        a, c = coprime(rng, q, q), coprime(rng, r, r)
        steps = (r, "/", q, "number-divide"), (a, "*", R0, "fraction-multiply"), (R1, "+", c, "fraction-add")
        return fraction(f"What is ${frac(a, q)} + {frac(c, r)}$?", R2, r, *steps)
    s, common_factor = coprime(rng, q, 12, smallest=2), 1 if level == 4 else k
    bottom, r = q * common_factor, s * common_factor
    a, c = coprime(rng, bottom, bottom), coprime(rng, r, r)
    steps = (a, "*", s, "fraction-multiply"), (c, "*", q, "fraction-multiply"), (R0, "+", R1, "fraction-add")
    return fraction(f"What is ${frac(a, bottom)} + {frac(c, r)}$?", R2, R3, *steps, (bottom, "*", s, "fraction-bottom"))


def multiply(rng: random.Random, level: int) -> Task:
    q, r, k = rng.randint(3, 8 + level), rng.randint(3, 8 + level), rng.randint(2, 3 + level)
    a, c = coprime(rng, q * r, 20), coprime(rng, q * r, 20)
    tops = (a, "*", c, "fraction-multiply")
    if level == 1:
        return fraction(f"What is ${frac(a, q)} \\cdot {c}$?", R0, q, tops)
    if level == 2:
        return fraction(f"What is ${frac(a, q)} \\cdot {frac(c, r)}$?", R0, R1, tops, (q, "*", r, "fraction-bottom"))
    q, r = q * k, coprime(rng, k, 8 + level, smallest=3)
    a, c = coprime(rng, q, 9 + level), k * coprime(rng, q * r, 9)
    if level == 3:
        return fraction(f"What is ${frac(a, q)} \\cdot {c}$?", R0, q, (a, "*", c, "fraction-multiply"))
    steps = (a, "*", c, "fraction-multiply"), (q, "*", r, "fraction-bottom")
    question = f"{frac(a, q)} \\cdot {frac(c, r)}" if level == 4 else f"{frac(a, q)} : {frac(r, c)}"
    return fraction(f"What is ${question}$?", R0, R1, *steps)


def part(rng: random.Random, level: int) -> Task:
    n = rng.randint
    b, d, m = n(3, 9 + level), n(3, 9), n(2, (30, 20, 25, 12, 20)[level - 1])
    a, c, whole = coprime(rng, b, b - 1, smallest=1 if b < 4 else 2), coprime(rng, d, d - 1), b * m
    one, taken = (whole, "/", b, "fraction-one"), (R0, "*", a, "fraction-parts")
    if level == 1:
        return written(f"What is ${frac(1, b)}$ of {whole}?", one)
    if level == 2:
        return written(f"What is ${frac(a, b)}$ of {whole}?", one, taken)
    if level == 3:
        return written(f"What is left of {whole} without ${frac(a, b)}$ of it?", one, taken, (whole, "-", R1, "percent-less"))
    steps = (R1, "/", d, "fraction-one"), (R2, "*", c, "fraction-parts")
    if level == 4:
        whole *= d
        return written(f"What is ${frac(c, d)}$ of ${frac(a, b)}$ of {whole}?", (whole, "/", b, "fraction-one"), taken, *steps)
    known = (a * d * m, "/", a, "fraction-one"), (R0, "*", b, "fraction-parts")
    return written(f"${frac(a, b)}$ of a number is {a * d * m}. What is ${frac(c, d)}$ of the number?", *known, *steps)


# Percentages that are one part of so many.
SIMPLE = {50: 2, 25: 4, 20: 5, 10: 10}


def percent_of(rng: random.Random, level: int) -> Task:
    n = rng.randint
    if level == 1:
        percent, parts = rng.choice(list(SIMPLE.items()))
        amount = parts * n(2, 400 // parts)
        return written(f"What is ${percent}\\%$ of {amount}?", (amount, "/", parts, "fraction-one"))
    p, amount, q, other = n(2, 99), 100 * n(1, 9), n(2, 99), 100 * n(1, 9)
    if level in (3, 4):
        unit = 10 if level == 3 else 5
        p, amount = unit * n(2, 90 // unit), 100 // unit * n(2, 990 * unit // 100)
        steps = (amount, "/", 100 // unit, "fraction-one"), (p, "/", unit, "number-divide"), (R0, "*", R1, "fraction-parts")
        return written(f"What is ${p}\\%$ of {amount}?", *steps)
    steps = [(amount, "/", 100, "fraction-one"), (R0, "*", p, "fraction-parts")]
    if level == 2:
        return written(f"What is ${p}\\%$ of {amount}?", *steps)
    steps += [(other, "/", 100, "fraction-one"), (R2, "*", q, "fraction-parts"), (R1, "+", R3, "percent-more")]
    return written(f"What is ${p}\\%$ of {amount} plus ${q}\\%$ of {other}?", *steps)


def price(rng: random.Random, level: int) -> Task:
    n = rng.randint
    (p, parts), (q, others) = rng.sample(list(SIMPLE.items()), 2)
    if level == 1:
        known = n(2, 90)
        return written(f"${p}\\%$ of a price is {known}. What is the price?", (known, "*", parts, "fraction-parts"))
    if level == 3:
        rate, old = n(2, 98), 100 * n(1, 9)
        steps = (old, "/", 100, "fraction-one"), (R0, "*", rate, "fraction-parts"), (old, "-", R1, "percent-less")
        return written(f"A price of {old} falls by ${rate}\\%$. What is it now?", *steps)
    if level == 4:
        rate = n(2, 95)
        new = (100 - rate) * n(1, 9)
        steps = (100, "-", rate, "percent-less"), (new, "/", R0, "fraction-one"), (R1, "*", 100, "fraction-parts")
        return written(f"A price falls by ${rate}\\%$ to {new}. What was it before?", *steps)
    old = parts * n(2, 600 // parts) if level == 2 else parts * others * n(1, 700 // (parts * others))
    first = (old, "/", parts, "fraction-one")
    if level == 2:
        return written(f"A price of {old} falls by ${p}\\%$. What is it now?", first, (old, "-", R0, "percent-less"))
    steps = first, (old, "+", R0, "percent-more"), (R1, "/", others, "fraction-one"), (R1, "-", R2, "percent-less")
    return written(f"A price of {old} rises by ${p}\\%$, then falls by ${q}\\%$. What is it now?", *steps)


def rate(rng: random.Random, level: int) -> Task:
    n = rng.randint
    if level in (1, 3):
        total = rng.choice((10, 20, 25, 50))
        some, times = n(2, total - 1), 100 // total
        if level == 1:
            return written(f"What percent is {some} of {total}?", (some, "*", times, "fraction-parts"), form=PERCENT)
        steps = (some, "+", total - some, "counting-all"), (100, "/", R0, "fraction-one"), (R1, "*", some, "fraction-parts")
        return written(f"What percent of {some} boys and {total - some} girls are boys?", *steps, form=PERCENT)
    k, p = n(2, 9), n(2, 99)
    hundredth = (100 * k, "/", 100, "fraction-one")
    if level == 2:
        return written(f"What percent is {k * p} of {100 * k}?", hundredth, (k * p, "/", R0, "number-divide"), form=PERCENT)
    if level == 4:
        rise = (k * (100 + p), "-", 100 * k, "sequence-gap")
        question = f"A price rises from {100 * k} to {k * (100 + p)}. By what percent?"
        return written(question, rise, hundredth, (R0, "/", R1, "number-divide"), form=PERCENT)
    k, p = n(3, 40), n(1, 19)
    steps = (20 * k, "-", (20 - p) * k, "sequence-gap"), (20 * k, "/", 20, "fraction-one"), (R0, "/", R1, "number-divide")
    question = f"A price falls from {20 * k} to {(20 - p) * k}. By what percent?"
    return written(question, *steps, (R2, "*", 5, "fraction-parts"), form=PERCENT)


def choices(rng: random.Random, level: int) -> Task:
    n = rng.randint
    a, b, c, d, less = n(2, 20 if level == 1 else 12), n(2, 12), n(2, 9), n(2, 9), n(2, 50)
    times = (a, "*", b, "counting-choices"), (R0, "*", c, "counting-choices")
    if level == 1:
        return written(f"A meal is one of {a} soups and one of {b} mains. How many meals are there?", times[0])
    meal = f"A meal is one of {a} soups, one of {b} mains and one of {c} cakes."
    if level == 2:
        return written(f"{meal} How many meals are there?", *times)
    if level == 3:
        return written(f"{meal} {less} meals are sold out. How many are left?", *times, (R1, "-", less, "percent-less"))
    if level == 4:
        a, d = n(11, 30), n(11, 30)
        steps = (a, "*", b, "counting-choices"), (c, "*", d, "counting-choices"), (R0, "+", R1, "counting-all")
        return written(
            f"A meal is one of {a} soups and {b} mains, or one of {c} teas and {d} cakes. How many meals are there?", *steps
        )
    steps = (a, "+", b, "counting-all"), (R0, "*", c, "counting-choices"), (R1, "*", d, "counting-choices")
    meal = f"A meal is one of {a} hot or {b} cold soups, one of {c} mains and one of {d} cakes."
    return written(f"{meal} {less} are sold out. How many are left?", *steps, (R2, "-", less, "percent-less"))


def games(rng: random.Random, level: int) -> Task:
    n = rng.randint
    a, b, k, people = n(2, 25), n(2, 25), n(2, 9), n(4, 31)
    if level <= 2:
        steps = ((a, "*", b, "counting-choices"), (R0, "*", k, "counting-choices"))[:level]
        often = "once" if level == 1 else f"{k} times"
        return written(f"Each of {a} girls plays each of {b} boys {often}. How many games are there?", *steps)
    order = (people, "-", 1, "counting-others"), (people, "*", R0, "counting-choices")
    if level == 3:
        question = f"From {people} girls come a first and a second, from {k} boys a winner. How many results are there?"
        return written(question, *order, (R1, "*", k, "counting-choices"))
    if level == 4:
        more, steps = n(2, 99), (*order, (R1, "/", 2, "counting-twice"))
        question = f"Each two of {people} players play once. Then there are {more} more games. How many games is that?"
        return written(question, *steps, (R2, "+", more, "counting-all"))
    steps = (a, "+", b, "counting-all"), (R0, "-", 1, "counting-others"), (R0, "*", R1, "counting-choices")
    question = f"Each two of {a} girls and {b} boys shake hands once. How many handshakes are there?"
    return written(question, *steps, (R2, "/", 2, "counting-twice"))


def chance(rng: random.Random, level: int) -> Task:
    n = rng.randint
    k = 1 if level == 1 else n(2, 4 + level)
    total = n(5, 30 if level == 1 else 20) if level < 5 else n(3, 31 // k)
    red = coprime(rng, total, total - 1)
    red, total = red * k, total * k
    blue, ask = total - red, "What is the probability of red?"
    if level == 2:
        return fraction(f"{red} of {total} balls are red. {ask}", red, total)
    bag, both = f"A bag has {red} red and {blue} blue balls.", (red, "+", blue, "counting-all")
    if level == 4:
        green = n(1, max(1, blue - 1))
        bag = f"A bag has {red} red, {blue - green} blue and {green} green balls."
        return fraction(f"{bag} {ask}", red, R1, (red, "+", blue - green, "counting-all"), (R0, "+", green, "counting-all"))
    if level == 5:
        question = f"{bag} We draw one, put it back, and draw again. What is the probability of red, then blue?"
        steps = both, (red, "*", blue, "fraction-multiply"), (R0, "*", R0, "fraction-bottom")
        return fraction(question, R1, R2, *steps)
    return fraction(f"{bag} {ask}", red, R0, both)


def arithmetic(rng: random.Random, level: int) -> Task:
    n = rng.randint
    a, d, place = n(2, 30 + 10 * level), n(2, 18 + level), n(5, 10 + 3 * level)
    if level == 1:
        return written(f"Each term is {d} more than the one before. What follows {a}?", (a, "+", d, "sequence-grow"))
    if level == 2:
        u, v, w = (a + i * d for i in (1, 2, 3))
        return written(f"What comes next in ${a}, {u}, {v}, {w}$?", (w, "-", v, "sequence-gap"), (w, "+", R0, "sequence-grow"))
    gap, last = (a + d, "-", a, "sequence-gap"), a + (place - 1) * d
    if level == 3:
        steps = (place, "-", 1, "counting-others"), (R0, "*", d, "sequence-times"), (a, "+", R1, "sequence-grow")
        return written(f"A sequence starts at {a} and grows by {d}. What is term {place}?", *steps)
    if level == 4:
        steps = gap, (place, "-", 1, "counting-others"), (R0, "*", R1, "sequence-times"), (a, "+", R2, "sequence-grow")
        return written(f"What is term {place} of the arithmetic sequence ${a}, {a + d}, \\dots$?", *steps)
    steps = gap, (last, "-", a, "sequence-gap"), (R1, "/", R0, "number-divide"), (R2, "+", 1, "counting-all")
    return written(f"How many terms has the arithmetic sequence ${a}, {a + d}, \\dots, {last}$?", *steps)


def series(rng: random.Random, level: int) -> Task:
    """Sums of arithmetic sequences."""
    n = rng.randint
    count, a, d = n(3, 10 + 2 * level), n(2, 10 * level), n(2, 5 + level)
    last = a + (count - 1) * d
    if level == 1:
        return written(f"{count} terms have the mean {a}. What is their sum?", (a, "*", count, "sequence-times"))
    ends, row = (a, "+", last, "counting-all"), f"An arithmetic sequence of {count} terms goes from {a} to {last}."
    if level == 2:
        question = f"An arithmetic sequence goes from {a} to {last}. What is its mean?"
        return written(question, ends, (R0, "/", 2, "number-divide"))
    steps = [ends, (R0, "*", count, "sequence-times"), (R1, "/", 2, "number-divide")]
    if level == 3:
        return written(f"{row} What is its sum?", *steps)
    if level == 4:
        return written(f"{row} What is the sum without the first term?", *steps, (R2, "-", a, "percent-less"))
    steps = (count, "-", 1, "counting-others"), (R0, "*", d, "sequence-times"), (R1, "/", 2, "number-divide")
    steps = *steps, (a, "+", R2, "sequence-grow"), (R3, "*", count, "sequence-times")
    return written(f"A sequence starts at {a} and grows by {d}. What is the sum of its first {count} terms?", *steps)


def recursive(rng: random.Random, level: int) -> Task:
    """Geometric and other sequences that are told term by term."""
    n = rng.randint
    a, b, r, c = n(2, 10 + 5 * level), n(2, 10 + 5 * level), n(2, 9), n(2, 60)
    grow = (a, "*", r, "sequence-times")
    if level == 1:
        return written(f"Each term is {r} times the one before. What follows {a}?", grow)
    if level == 2:
        steps = (a * r, "/", a, "sequence-ratio"), (a * r, "*", R0, "sequence-times")
        return written(f"What comes next in the geometric sequence ${a}, {a * r}, \\dots$?", *steps)
    if level == 3:
        steps = grow, (R0, "*", r, "sequence-times"), (R1, "*", r, "sequence-times")
        return written(f"A sequence starts at {a}. Each term is {r} times the one before. What is term 4?", *steps)
    if level == 4:
        steps = [(x, "+", y, "algebra-plus") for x, y in ((a, b), (b, R0), (R0, R1), (R1, R2))]
        return written(f"A sequence starts with ${a}, {b}$. Each term is the sum of the two before. What is term 6?", *steps)
    steps = grow, (R0, "+", c, "sequence-grow"), (R1, "*", r, "sequence-times"), (R2, "+", c, "sequence-grow")
    return written(f"A sequence starts at {a}. Each term is {r} times the one before plus {c}. What is term 3?", *steps)


KINDS: dict[str, tuple[Callable[[random.Random, int], Task], ...]] = {
    "algebra": (equation, ratio, pair),
    "number theory": (divisors, common, numerals),
    "fractions": (add, multiply, part),
    "percent": (percent_of, price, rate),
    "counting": (choices, games, chance),
    "sequences": (arithmetic, series, recursive),
}
SUBJECTS = tuple(KINDS)


def draw(rng: random.Random, split: str, subject: str | None = None, level: int | None = None) -> Task:
    """A random task of the given split; subject and level are random where they are not given."""
    subject, level = subject or rng.choice(SUBJECTS), level or rng.choice(LEVELS)
    while True:
        task = rng.choice(KINDS[subject])(rng, level)
        if task.split == split and sound(task):
            return replace(task, subject=subject, level=level)
