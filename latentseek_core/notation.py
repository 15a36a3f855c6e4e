r"""What an answer says, apart from how it is written: dressing comes off, variants of notation become one, numbers exact.

`\$1{,}234.50`, `1234.5 \text{ dollars}` and `x = 1\,234\frac{1}{2}` are the same number; `\text{(E)}` and `E` the same choice.
"""

import re
from fractions import Fraction
from functools import lru_cache

LONGEST = 400  # characters; a longer answer is taken as it stands
WRITTEN = [  # signs, and how LaTeX writes them
    ("−–", "-"), ("÷", "/"), ("×", r"\times "), ("·", r"\cdot "), ("√", r"\sqrt "), ("π", r"\pi "), ("θ", r"\theta "),
    ("∞", r"\infty "), ("≤", r"\le "), ("≥", r"\ge "), ("≠", r"\ne "), ("±", r"\pm "), ("∪", r"\cup "), ("∩", r"\cap "),
    ("∈", r"\in "), ("°", r"^\circ "), ("²", "^2"), ("³", "^3"), ("½", r"\frac{1}{2}"), ("¼", r"\frac{1}{4}"),
    ("¾", r"\frac{3}{4}"), ("£€¥“”", ""), ("\u00a0\u202f\u2009", " "),
]  # fmt: skip
SIGNS = str.maketrans({sign: latex for signs, latex in WRITTEN for sign in signs})
FONT = r"\\(?:text(?:bf|it|rm|normal|tt|sf)?|math(?:rm|bf|it|sf|tt)|mbox|hbox|operatorname)\s*"
AND = rf"(?:{FONT}\{{\s*(?:and|or)\s*\}}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]))"

# In this order: each may rely on what those above have done.
REWRITES = [
    (r"(?<=[\w)}])\*\*(?=[\w({\\-])", "^"),  # Python's power; other pairs of stars are bold type
    (r"\*\*|`|(?<!\\)\\[()\[\]]|\\?\$", ""),  # marks around formulas, and dollars
    (r"(?<!\\)\\(?:displaystyle|textstyle|limits|left|right|[bB]igg?[lr]?)(?![A-Za-z])", ""),
    (r"(?<!\\)\\!\s*", ""),
    (r"(?<!\\)\\(?:[,;: ]|q?quad(?![A-Za-z]))|~", " "),
    (r"\{,\}", ","),
    (rf",?\s*{AND}\s*", ", "),
    # units in \text behind a value, percent, degrees
    (rf"(?<=[^\s,=+(\[{{-])\s*{FONT}\{{[^{{}}]{{2,}}\}}(?:\^\{{?[0-9]\}}?)?(?=[\s.%]*$)", ""),
    (r"\^\s*\{?\s*\\circ\s*\}?|\\degrees?(?![A-Za-z])|\\?%|\b(?:percent(?:age)?|pct)\b", ""),
    (rf"{FONT}\{{([^{{}}]*)\}}", r"\1"),
    (rf"{FONT}(?=[A-Za-z0-9(])", ""),
    (r"^(?:USD|EUR|GBP|INR|Rs\.?|\\pounds)\s*(?=[0-9.])", ""),
    (r"\\mathbb\s*([A-Z])", r"\\mathbb{\1}"),
    (r"\\varnothing", r"\\emptyset"),
    (r"^\s*\\approx(?![A-Za-z])", ""),
    (r"\\[dtc]frac", r"\\frac"),
    (r"\\frac\s*([0-9A-Za-z])", r"\\frac{\1}"),
    (r"(\\frac\s*\{[^{}]*\})\s*([0-9A-Za-z])", r"\1{\2}"),
    # LaTeX without backslashes
    (r"(?<![A-Za-z\\])(pi|theta|sqrt|sin|cos|tan|cot|sec|csc|log|ln)(?![a-z])", r"\\\1 "),
    (r"(?<![A-Za-z\\])(?:infinity|infty|inf|oo)(?![A-Za-z])", r"\\infty "),
    (r"(?<=[)\]}])\s*(?:U|union)\s*(?=[(\[\\{])", r"\\cup "),
    (r"\+\s*/?\s*-(?=\s*[\d\\])", r"\\pm "),
    (r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"\\sqrt\s*([0-9A-Za-z])", r"\\sqrt{\1}"),
    # matrices: a row break before the end, parentheses written or drawn
    (r"\\\\\s*(?=\\end)", ""),
    (r"\(\s*\\begin\{array\}\{[^{}]*\}(.*)\\end\{array\}\s*\)", r"\\begin{pmatrix}\1\\end{pmatrix}"),
    (r"^\(\s*(\\begin\{([a-z]*matrix)\}.*\\end\{\2\})\s*\)$", r"\1"),
]
REWRITES = [(re.compile(pattern, re.DOTALL | re.ASCII), new) for pattern, new in REWRITES]
BASE = re.compile(r"\(?([0-9][0-9A-F]*)\)?\s*_\s*\{?\s*([0-9]+)\s*\}?")
CHOICE = re.compile(r"\(([A-Za-z])\)")

NAME = re.compile(r"((?:[A-Za-z]|\\(?!begin|pm)|\||\()[^=<>+*^\-]{0,40}?)\s*(?:(?<![<>!])=|\\in(?![a-z]))(?!=)\s*(?=\S)")
VARIABLE = re.compile(r"(?<![A-Za-z\\])(?![ei])[A-Za-z](?![A-Za-z(])")
BASED = re.compile(r"[0-9][0-9A-F]*_[0-9]+")
WORDS = re.compile(r"(?:[A-Za-z]{2,}[ '-]+)*[A-Za-z]{3,}(?:[ '-]+[A-Za-z]+)*")

SHORT_UNITS = set("cm mm km ft in yd mi kg mg lb lbs oz ml hr hrs min sec ms mph kph km/h m/s sq cu cc pm am".split())
NO_UNITS = set("mod gcd lcm max exp sqrt infty".split())
UNIT = re.compile(r"(.*(?:[0-9)}\]]|\\pi))(\s*)([A-Za-z][A-Za-z/. ]*?)(?:\^\{?[23]\}?)?")

THOUSANDS = re.compile(r"(?<![0-9,.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])")
DIGITS = r"(?:[0-9]{1,3}(?:[, ][0-9]{3})+(?![0-9])|[0-9]+)"
DECIMAL = rf"(?:{DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
POWER = r"(?:(?:\\times|\\cdot|\*)\s*10\s*\^\s*\{?\s*([+-]?[0-9]{1,3})\s*\}?|[eE]([+-]?[0-9]{1,3}))"
FRACTION = rf"(?:\\frac\s*\{{\s*(-?{DECIMAL})\s*\}}\s*\{{\s*(-?{DECIMAL})\s*\}}|({DECIMAL})\s*/\s*({DECIMAL}))"
SCIENTIFIC = re.compile(rf"([+-]?)\s*({DECIMAL})\s*{POWER}?")
MIXED = re.compile(rf"([+-]?)\s*(?:([0-9]+)(?:\s+|(?=\\)))?{FRACTION}")


@lru_cache(maxsize=20_000)
def canonical(answer: str, benchmark: str = "") -> str:
    """One text for all ways to write the same answer, as far as no algebra is needed: a key to count votes by.

    A number is written as an integer or a fraction in lowest terms, words in small letters. Empty where nothing is said.
    """
    if len(answer) > LONGEST:
        return answer
    text = plain(answer)
    value = number(text)
    if value is not None:
        return str(value)
    return text.lower() if WORDS.fullmatch(text) else re.sub(r"(?<![0-9])\s+|\s+(?![0-9])", "", text)


@lru_cache(maxsize=20_000)
def plain(answer: str) -> str:
    """An answer as plain LaTeX, undressed."""
    text = answer.translate(SIGNS).strip()
    for pattern, new in REWRITES:
        text = pattern.sub(new, text).strip()
    text = _without_unit(_without_name(text.lstrip("=: ").rstrip(".,;: \\")))
    if not re.search(r"[(\[]|\\\{", text):  # elsewhere a comma may separate
        text = THOUSANDS.sub(lambda digits: digits[0].replace(",", ""), text)
    for whole, new in ((BASE, r"\1_\2"), (CHOICE, r"\1")):
        text = whole.sub(new, text) if whole.fullmatch(text) else text
    return text


def number(text: str) -> Fraction | None:
    """The value of a plain number: decimal, fraction, mixed, scientific; None for anything else. Only the digits 0 to 9 count."""
    while text.startswith(("(", "{")) and text.endswith((")", "}")) and "," not in text:
        text = text[1:-1].strip()
    if len(text) > 200:
        return None
    if found := SCIENTIFIC.fullmatch(text):
        sign, digits, *power = found.groups()
        value = _decimal(digits) * Fraction(10) ** int(next(filter(None, power), 0))
    elif found := MIXED.fullmatch(text):
        sign, whole, *parts = found.groups()
        above, below = map(_decimal, filter(None, parts))
        if not below:
            return None
        value = Fraction(whole or 0) + above / below
    else:
        return None
    return -value if sign == "-" else value


def _decimal(digits: str) -> Fraction:
    return Fraction(re.sub(r"[, ]", "", digits))


def _without_name(text: str) -> str:
    """A value without the name it is given, `x = 5` or `x \\in [0,1]`; an equation between unknowns stays."""
    found = NAME.match(text)
    if not found or re.search(r"[0-9]", re.sub(r"_\{?\w+\}?|\([^()]*\)", "", found[1])):
        return text
    rest = re.sub(rf"(^|,)\s*{re.escape(found[1])}\s*=\s*", r"\1 ", text[: found.start()] + text[found.end() :]).strip()
    return text if "=" in rest or VARIABLE.search(re.sub(r"\\[A-Za-z]+", "", rest)) else rest


def _without_unit(text: str) -> str:
    """A value without the unit's words behind it: `250 stickers`, `5.4cents`, `12 cm^2`; `18x` stays."""
    found = UNIT.fullmatch(text)
    if not found:
        return text
    value, space, words = found.groups()
    shortest = 3 if space else 4
    units = [w.strip(".") for w in re.split(r"[\s/]+", words) if w.strip(".")]
    known = [
        w.lower() in SHORT_UNITS or (len(w) >= shortest and w not in NO_UNITS) or (n > 0 and len(w) == 1)
        for n, w in enumerate(units)
    ]
    return value if units and all(known) else text
