r"""What the model answered, and whether that is right.

First the answer is found in the text: the last `\boxed{…}`, or the value of `final answer` in JSON that may be damaged. Then
it is compared with the true one, cheapest first: the same number, the same text once dressing is off (units, currency, `x =`,
fonts), and only for what is left, the same value by algebra (`symbolic.py`).
"""

import re
from functools import lru_cache
from itertools import accumulate

from .notation import BASED, LONGEST, WORDS, canonical, number, plain
from .symbolic import WORKER

# What could only keep algebra busy, or mislead it.
HOPELESS = re.compile(
    r"""[0-9]{60} | [0-9][eE][+-]?[0-9]{4} | [0-9]{5}\s*! | !\s*!  # huge numbers
    | \^\s*\{?\s*-?[0-9]{5} | \^\s*[0-9]+\s*\^       # huge powers, and towers of them
    | \^\s*\{\s*[0-9]{2,}\s*\^ | \^\s*\{[^{}]*\^\s*\{?\s*[0-9]{2,} | \^\s*\{[^{}]*\^\s*\{[^{}]*\^
    | ^[0-9]+(?:\s+[0-9]+)+$ | :[^:]*:                # digits with a gap, ratios of three
    | \\infty\s*\] | \[\s*-\s*\\infty               # intervals closed at infinity
    | [^\t\n\x20-\x7e]                              # signs that no formula has""",
    re.VERBOSE,
)
DEEPEST = 12  # brackets open at once
NUMBERS_ONLY = {"tiny-gsm", "tiny-aime"}  # every answer is a whole number, so nothing is left for algebra
SPECIAL = re.compile(r"(?:<\|[^<>|\s]{1,40}\|>|</s>|<eos>|<end_of_turn>)\Z")
NUMBER = re.compile(r"[-−]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|[-−]?\.[0-9]+")
BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|\\.|[{}]", re.DOTALL)
KEY = re.compile(r"""(?:^|[{,"”'’\]}0-9])\s*["'“”‘’]\s*final[\s_-]*answer\s*["'“”‘’]\s*:\s*""", re.IGNORECASE)
CLOSING = {'"': '"', "'": "'", "“": '”“"', "”": '”"', "‘": "’'", "’": "’'"}
STATEMENT = re.compile(
    r"""answer["'”]?(?:\s+is)?\s*[:=]?[\s*]*                       # "answer is", "Answer:"
    (\$[^$\n]{1,200}\$ | \\\(.{1,200}?\\\) | \\\[.{1,200}?\\\]     # a formula, or up to the line's or the sentence's end
    | [^\n]{1,200}?(?=[.,;!?*]{0,4}[ \t]*(?:\n|$)|[.;]\s))""",
    re.IGNORECASE | re.VERBOSE,
)


def extract_answer(text: str, *, style: str, benchmark: str, strict: bool = True) -> str | None:
    r"""The final answer as stated in an answer's text, or None where none is stated.

    Args:
        text: the answer.
        style: `boxed` takes the last complete box, `json` the value of the last `final answer`.
        benchmark: the benchmark's name (all read alike; `equal` is where they differ).
        strict: False also accepts an answer in the other format or, failing that, in words ("the answer is 18"), or the last
            number.

    Raises:
        ValueError: unknown style.
    """
    readers = {"boxed": _last_box, "json": _json_value}
    if style not in readers:
        raise ValueError(f"unknown answer style {style!r}: use boxed or json")
    found = readers.pop(style)(text)
    if found is None and not strict:
        found = next(iter(readers.values()))(text) or _statement(text)
    return found


def is_correct(text: str, gold: str, *, style: str, benchmark: str, strict: bool = True) -> bool:
    """Whether the answer stated in a text equals the true one; see `extract_answer` and `equal`."""
    stated = extract_answer(text, style=style, benchmark=benchmark, strict=strict)
    return stated is not None and equal(stated, gold, benchmark)


@lru_cache(maxsize=20_000)
def equal(answer: str, gold: str, benchmark: str) -> bool:
    """Whether an answer equals the true one in value; how either is dressed (units, currency, `x =`, fonts) doesn't count.

    Args:
        answer: a bare answer, with or without a box or dollar signs around it.
        gold: the true answer, as the benchmark writes it.
        benchmark: the benchmark's name; an unknown one is graded as MATH-500.
    """
    answer, gold = (_last_box(text) or _without_special(text) for text in (answer, gold))
    if len(answer) > LONGEST:
        return False
    stated, truth = canonical(answer, benchmark), canonical(gold, benchmark)
    if stated == truth or not stated or not truth:
        return stated == truth != ""
    if benchmark in NUMBERS_ONLY or not _needs_algebra(stated, truth):
        return False
    return _same(stated if number(stated) is not None else plain(answer), plain(gold))


def _needs_algebra(stated: str, truth: str) -> bool:
    """Whether two unequal texts may yet be equal in value: not two numbers, words, other bases, or a number and no digit."""
    texts, numbers = (stated, truth), (number(stated) is not None, number(truth) is not None)
    settled = all(numbers) or any(BASED.fullmatch(t) or WORDS.fullmatch(t) for t in texts)
    settled = settled or (numbers[1] and not re.search(r"[0-9]", stated))
    return not settled and not any(HOPELESS.search(t) or _depth(t) > DEEPEST for t in texts)


def _depth(text: str) -> int:
    """How many brackets are open at once, at most."""
    return max(accumulate({"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(sign, 0) for sign in text), default=0)


def _same(answer: str, gold: str) -> bool:
    """Algebra's verdict; a list for a tuple is read as a tuple, since order counts there."""
    if gold.startswith("(") and "," in answer and not re.search(r"[(\[{]", re.sub(r"\\[a-z]+\s*\{|_\{|\^\{", "", answer)):
        answer = f"({answer})"
    return WORKER.same(answer, gold)


def _last_box(text: str) -> str | None:
    r"""The contents of the last complete `\boxed{…}`, inner braces included; written `\{` and `\}` don't count as braces."""
    opened, last = [], (-1, -1)
    for brace in BRACE.finditer(text):
        if brace[0].endswith("{") and brace[0] != r"\{":
            opened.append(brace)
        elif brace[0] == "}" and opened:
            box = opened.pop()
            last = max(last, (box.end(), brace.start())) if len(box[0]) > 1 else last
    return text[slice(*last)].strip() or None


def _closing_brace(text: str, start: int) -> int | None:
    """Where the brace closes that was opened before `start`."""
    depth = 1
    for brace in BRACE.finditer(text, start):
        depth += 0 if brace[0][:-1] == "\\" else {"{": 1, "}": -1}.get(brace[0][-1], 0)
        if depth == 0:
            return brace.start()
    return None


def _json_value(text: str) -> str | None:
    """The value of the last `final answer` key. Read as text, since models write JSON that no parser takes."""
    text = _without_special(text)
    keys = list(KEY.finditer(text))
    if not keys:
        return None
    start = keys[-1].end()
    quotes = CLOSING.get(text[start : start + 1])
    value = _quoted(text, start + 1, quotes) if quotes else _bare(text, start)
    return None if value is None or value.strip() in ("", "null", "None") else _unescape(value).strip() or None


def _quoted(text: str, start: int, quotes: str) -> str | None:
    """Up to the closing quote: the first one that something follows which may stand behind a value."""
    ends = rf"[{quotes}](?=\s*(?:[,}}\]#]|//|/\*|`|<|$))"
    found = re.compile(rf"((?:\\.|(?!{ends})[^\\])*){ends}", re.DOTALL).match(text, start)
    return found[1] if found else None


def _bare(text: str, start: int) -> str | None:
    """A value without quotes: up to the object's brace, the next key, a comment or the line's end; None if it is cut off."""
    end = _closing_brace(text, start)
    value = re.split(r",\s*[\"'“]|,?\s*(?://|/\*|#|\n)", text[start:end], maxsplit=1)
    complete = end is not None or len(value) > 1
    return value[0].strip().rstrip(",") if complete else None


def _unescape(value: str) -> str:
    r"""A JSON value's text, its backslashes escaped once, twice or not at all (then the `\f` of `\frac` is no form feed)."""
    value = re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), value)
    value = re.sub(r"(?<!\\)\\([\"'/])", r"\1", value)
    value = re.sub(r"(?<!\\)\\[nrt](?![A-Za-z]{2})", " ", value)
    runs = [len(run) for run in re.findall(r"\\+", value)]
    written = min(runs, default=1)  # how many backslashes stand for one
    return re.sub(r"\\+", lambda run: "\\" * max(1, len(run[0]) // written), value)


def _statement(text: str) -> str | None:
    """What follows the last "answer is" or "answer:", the number where one comes first; else the last number."""
    text = _without_special(text)
    said = [re.sub(rf"^({NUMBER.pattern})[\s,]+(?!and|or)[a-z].*", r"\1", s) for s in STATEMENT.findall(text)]
    numbers = NUMBER.findall(text)
    return (said or numbers or [None])[-1]


def _without_special(text: str) -> str:
    """The text without the special tokens at its end, such as <|im_end|>."""
    text = text.rstrip()
    while found := SPECIAL.search(text, max(0, len(text) - 50)):
        text = text[: found.start()].rstrip()
    return text
