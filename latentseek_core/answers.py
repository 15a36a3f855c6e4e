"""What the model answered, and whether that is right: numeric answers, as GSM8K and the stories have them."""

import json
import re
from decimal import Decimal

NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?|[-−]?\.\d+")


def extract_answer(text: str, *, style: str, benchmark: str, strict: bool = True) -> str | None:
    """The final answer as stated in an answer's text, or None where none is stated.

    Args:
        text: the answer.
        style: `boxed` takes the last box, `json` the value of `final answer`.
        benchmark: the benchmark's name (numeric benchmarks all read alike).
        strict: False also accepts an answer in the other format or, failing that, the last number in the text.

    Raises:
        ValueError: unknown style.
    """
    readers = {"boxed": _last_box, "json": _json_value}
    if style not in readers:
        raise ValueError(f"unknown answer style {style!r}: use boxed or json")
    found = readers.pop(style)(text)
    if found is None and not strict:
        numbers = NUMBER.findall(text)
        found = next(iter(readers.values()))(text) or (numbers[-1] if numbers else None)
    return found


def is_correct(text: str, gold: str, *, style: str, benchmark: str, strict: bool = True) -> bool:
    """Whether the answer stated in a text equals the true one, as numbers where both are numbers."""
    stated = extract_answer(text, style=style, benchmark=benchmark, strict=strict)
    if stated is None:
        return False
    numbers = as_number(stated), as_number(gold)
    if None not in numbers:
        return numbers[0] == numbers[1]
    return re.sub(r"[\s$]", "", stated) == re.sub(r"[\s$]", "", gold)


def as_number(text: str) -> Decimal | None:
    """The number in a short text (`$1,200`, `18 dollars`, `x = 5`); None where there is none or more than one."""
    found = NUMBER.findall(text.replace("\\!", "").replace("{,}", ","))
    return Decimal(found[0].replace(",", "").replace("−", "-")) if len(found) == 1 else None


def _last_box(text: str) -> str | None:
    """The contents of the last `\\boxed{…}`, inner braces included."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for end in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return text[start + 7 : end].strip() or None
    return None


def _json_value(text: str) -> str | None:
    """The value of the last `final answer` key, from valid JSON or from something close to it."""
    start, end = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[start : end + 1])["final answer"]
    except (ValueError, KeyError, TypeError):
        found = re.findall(r'"final answer"\s*:\s*("(?:[^"\\]|\\.)*"|[^,}\n]+)', text)
        value = found[-1].strip().strip('"') if found else None
    return None if value is None or not str(value).strip() else str(value).strip()
