"""Problems and where they come from: the benchmarks in the box, and GSM8K, MATH-500 and AIME2024 from a file."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).resolve().parent
# Beside the package in a checkout, inside it when installed from a wheel.
DATA = next(path for path in (_HERE / "data", _HERE.parent / "data") if path.is_dir())
BENCHMARKS_FOLDER = DATA / "benchmarks"

# The columns that the hub's data sets have, and those of our own files: (id, question, answer, solution).
COLUMNS = {
    "gsm8k": (None, "question", "answer", "answer"),
    "math500": ("unique_id", "problem", "answer", "solution"),
    "aime2024": ("ID", "Problem", "Answer", "Solution"),
    "embedded": ("id", "question", "answer", "solution"),
}

# The generators of the endless train splits, `(split, count, seed) -> problems`; the wing that has them enters them here.
GENERATORS: dict[str, Callable[[str, int, int], list["Problem"]]] = {}


@dataclass(frozen=True)
class Problem:
    """One question with its true answer.

    `benchmark` decides how answers are graded (`answers.py`); `solution` is a worked solution where the benchmark has one.
    """

    id: str
    question: str
    answer: str
    benchmark: str
    solution: str = ""

    def __post_init__(self):
        if not self.question.strip():
            raise ValueError(f"problem {self.id!r} of {self.benchmark!r} has an empty question; give it some text")


def embedded_benchmarks() -> list[str]:
    """Names of the benchmarks in the box, each usable wherever a benchmark is named."""
    return sorted(path.parent.name for path in BENCHMARKS_FOLDER.glob("*/test.jsonl"))


def load_benchmark(
    name_or_path: str | Path, *, split: str = "test", limit: int | None = None, seed: int | None = None
) -> list[Problem]:
    """The problems of a benchmark, in its order, or shuffled by a seed.

    Args:
        name_or_path: an embedded benchmark's name, or a JSON-lines file with the columns of ours (id, question, answer, solution) or
            with those that GSM8K, MATH-500 or AIME2024 have on the hub.
        split: `test`, `tune` or `train` of an embedded benchmark; `train` is endless, so it needs a limit.
        limit: the first so many (after shuffling).
        seed: of the shuffling, or of the training problems drawn.

    Raises:
        ValueError: unknown benchmark or split, a broken file, a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1")
    path = Path(name_or_path)
    if path.suffix == ".jsonl" and path.is_file():
        problems = _read(path)
    elif str(name_or_path) not in embedded_benchmarks():
        known = ", ".join(embedded_benchmarks())
        raise ValueError(f"unknown benchmark {str(name_or_path)!r}: use one of {known}, or the path of a .jsonl file")
    elif split == "train":
        if limit is None:
            raise ValueError(f"the train split of {name_or_path} is endless; say how many problems to draw (limit)")
        return GENERATORS[str(name_or_path)](split, limit, seed or 0)
    else:
        file = BENCHMARKS_FOLDER / path / f"{split}.jsonl"
        if not file.is_file():
            raise ValueError(f"benchmark {str(name_or_path)!r} has no split {split!r}; it has test, tune and train")
        problems = _read(file, str(name_or_path))
    if seed is not None:
        random.Random(seed).shuffle(problems)
    return problems[:limit]


def _read(path: Path, benchmark: str = "") -> list[Problem]:
    problems = []
    for number, line in enumerate(path.read_text(encoding="utf-8").rstrip("\n").split("\n")):
        try:
            row = json.loads(line)
            kind = "embedded" if benchmark else _kind(row)
            problems.append(_problem(row, number, kind, benchmark or row.get("benchmark", kind)))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number + 1}: not a problem ({type(error).__name__}: {error})") from error
    return problems


def _kind(row: dict) -> str:
    if "id" in row and "question" in row:
        return "embedded"
    for kind in ("aime2024", "math500", "gsm8k"):
        if all(column in row for column in COLUMNS[kind] if column):
            return kind
    raise ValueError("its columns are those of no known benchmark: " + (", ".join(row) or "none"))


def _problem(row: dict, number: int, kind: str, benchmark: str) -> Problem:
    name, question, answer, solution = COLUMNS[kind]
    gold, worked = str(row[answer]), row.get(solution, "")
    if kind == "gsm8k":
        worked, gold = (part.strip() for part in gold.rsplit("####", 1))
    return Problem(str(row[name]) if name else f"{benchmark}-{number}", row[question], gold, benchmark, worked)
