"""Problems and where they come from: the benchmarks in the box; GSM8K, MATH-500 and AIME2024 from file, folder or hub; GSM-Symbolic.

`benchmarks.py` reads the rows; here they become problems: checked, their damage repaired, shuffled and cut as asked.
"""

import hashlib
import logging
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .benchmarks import COLUMNS, HUB, SUFFIXES, Rows, kind_of, read_file, read_folder, read_hub

_HERE = Path(__file__).resolve().parent
# Beside the package in a checkout, inside it when installed from a wheel.
DATA = next(path for path in (_HERE / "data", _HERE.parent / "data") if path.is_dir())
BENCHMARKS_FOLDER = DATA / "benchmarks"

# The generators of endless splits, `(split, count, seed) -> problems`: the train splits of the benchmarks in the box, entered by
# the wing that has them, and all of GSM-Symbolic.
GENERATORS: dict[str, Callable[[str, int, int], list["Problem"]]] = {}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Problem:
    """One question with its true answer.

    `benchmark` decides how answers are graded (`answers.py`); `solution` is a worked solution where the benchmark has one; `group`
    is what results may be split by (MATH-500: `Algebra, level 3`).
    """

    id: str
    question: str
    answer: str
    benchmark: str
    solution: str = ""
    group: str = ""

    def __post_init__(self):
        if not self.question.strip():
            raise ValueError(f"problem {self.id!r} of {self.benchmark!r} has an empty question; give it some text")


def embedded_benchmarks() -> list[str]:
    """Names of the benchmarks in the box, each usable wherever a benchmark is named."""
    return sorted(path.parent.name for path in BENCHMARKS_FOLDER.glob("*/test.jsonl"))


def _splits_of(name: str) -> list[str]:
    return [*sorted(path.stem for path in (BENCHMARKS_FOLDER / name).glob("*.jsonl")), "train"]


def load_benchmark(
    name_or_path: str | Path, *, split: str = "test", limit: int | None = None, seed: int | None = None
) -> list[Problem]:
    """The problems of a benchmark, in its order, or shuffled by a seed.

    Args:
        name_or_path: an embedded benchmark's name; `gsm8k`, `math500`, `aime2024` or the id of a hub data set with such columns;
            `gsm-symbolic`; a .jsonl or .parquet file, or a folder with one a split, with those columns or with ours (id, question,
            answer, solution); a folder written by `datasets.save_to_disk`. What lies here goes before the hub.
        split: `test`, `tune` or `train` of an embedded benchmark, `test` or `train` of GSM8K. A file is itself whatever the split,
            except that `train` of `…/test.jsonl` is `…/train.jsonl`. Embedded train splits and GSM-Symbolic are endless and need a
            limit.
        limit: the first so many (after shuffling).
        seed: of the shuffling, or of the problems drawn.

    Raises:
        ValueError: unknown benchmark or split, a broken file, no way to the hub, a limit below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; it must be at least 1")
    name = str(name_or_path)
    if name in GENERATORS and (split == "train" or name not in embedded_benchmarks()):
        if limit is None:
            raise ValueError(f"the {split} split of {name} is endless; say how many problems to draw (limit)")
        return GENERATORS[name](split, limit, seed or 0)
    problems = _problems(_rows(name, split))
    if seed is not None:
        random.Random(seed).shuffle(problems)
    return problems[:limit]


def _rows(name: str, split: str) -> Rows:
    path = Path(name)
    if name in embedded_benchmarks():
        file = BENCHMARKS_FOLDER / name / f"{split}.jsonl"
        if not file.is_file():
            raise ValueError(f"benchmark {name!r} has no split {split!r}; it has {', '.join(_splits_of(name))}")
        return read_file(file, split)
    if path.is_file():
        return read_file(path, split)
    if path.is_dir():
        return read_folder(path, split)
    if path.suffix in SUFFIXES:
        raise ValueError(f"there is no benchmark file {name}")
    if name in HUB or re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return read_hub(name, split)
    known = ", ".join(dict.fromkeys([*embedded_benchmarks(), *HUB, *GENERATORS]))
    raise ValueError(
        f"unknown benchmark {name!r}: use one of {known}, a hub data set's id, or the path of a .jsonl or .parquet file"
    )


# --- from rows to problems ---


def _problems(rows: Rows) -> list[Problem]:
    problems, repaired = {}, []
    for number, (place, row) in enumerate(rows.rows):
        try:
            mended = {column: _mend(value) if isinstance(value, str) else value for column, value in row.items()}
            problem = _problem(mended, number, rows.split)
        except ValueError as error:
            raise ValueError(f"{place}: not a problem ({error})") from error
        if problem.id in problems:
            raise ValueError(f"{place}: a second problem with the id {problem.id!r}; give every problem an id of its own")
        problems[problem.id] = problem
        if mended != row:
            repaired.append(problem.id)
    if repaired:
        _say_once(
            f"{problem.benchmark}: control characters stood where LaTeX had lost its backslash; repaired in {', '.join(repaired)}"
        )
    return list(problems.values())


def _problem(row: dict[str, Any], number: int, split: str) -> Problem:
    kind = kind_of(row)
    name, question, answer, solution = COLUMNS[kind]
    if not isinstance(row[question], str):
        raise ValueError(f"its column {question!r} holds {row[question]!r}, not a text")
    for column in filter(None, (name, answer)):
        if not isinstance(row[column], str | int | float) or not str(row[column]).strip():
            raise ValueError(f"its column {column!r} holds {row[column]!r}, not a text or a number")
    gold, worked = str(row[answer]), str(row.get(solution) or "")
    if kind == "gsm8k" or "####" in gold:
        worked, mark, gold = (part.strip() for part in gold.rpartition("####"))
        if not (mark and gold):
            raise ValueError("its answer has no '#### ' with a number after it, as GSM8K's have; our own rows have an id")
    benchmark = str(row.get("benchmark") or kind)
    row_id = str(row[name]) if name else "-".join([benchmark, *([split] if split != "test" else []), str(number)])
    group = f"{row['subject']}, level {row['level']}" if {"subject", "level"} <= set(row) else str(row.get("group") or "")
    return Problem(row_id, row[question], gold, benchmark, worked, group)


@cache
def _say_once(note: str) -> None:
    logger.warning(note)


# --- repair: `\frac` written into a JSON text without doubling the backslash comes out as a form feed and `rac` ---

_ESCAPED = {"\a": "a", "\b": "b", "\f": "f", "\v": "v", "\t": "t", "\r": "r"}
_LOST = re.compile(r"(?<!\\)((?:\\\\)*)\\?([\a\b\f\v\t\r])([A-Za-z]+)")
# Tabs and carriage returns stand in healthy text too: they are damage only within a formula, and where one of these comes out.
_COMMANDS = set(
    "tan tanh tau tbinom text textbf textit textrm textsf texttt tfrac theta therefore tilde times to top triangle triangleleft "
    "triangleright rangle rbrace rbrack rceil rfloor rho right rightarrow rightharpoonup rightleftharpoons rm rVert rvert".split()
)


def _mend(text: str) -> str:
    r"""The text with LaTeX commands that a control character stands in for put right, a stray `\` before one taken away."""
    # A dollar alone makes no LaTeX: GSM8K has prices.
    return _LOST.sub(_command, text) if re.search(r"[\\{}^_]", text) else text


def _command(found: re.Match) -> str:
    pairs, character, rest = found.groups()
    command = _ESCAPED[character] + rest
    damaged = rest[0].islower()
    if character in "\t\r":
        damaged = command in _COMMANDS and _in_formula(found.string, found.start())
    return f"{pairs}\\{command}" if damaged else found[0]


def _in_formula(text: str, end: int) -> bool:
    """Whether a place in a text is within a formula; a text that marks none, such as a bare answer, is one itself."""
    before = text[:end]
    dollars = len(re.findall(r"(?<!\\)\$", before))
    return not re.search(r"\$|\\\[", text) or dollars % 2 == 1 or before.rfind("\\[") > before.rfind("\\]")


# --- GSM-Symbolic ---

SYMBOLIC_SPLITS = ("test", "tune", "train")


def draw_symbolic(split: str, count: int, seed: int) -> list[Problem]:
    """Problems from the GSM-Symbolic templates (arXiv 2410.05229), as the reasoning-gym package fills them in.

    A question's own hash says which split it is of, so no question is in two splits, whatever the seeds. The sentence on the
    answer's format that reasoning-gym ends every question with is left out: that is the prompt's business.

    Raises:
        ValueError: unknown split, or the package is missing.
    """
    if split not in SYMBOLIC_SPLITS:
        raise ValueError(f"benchmark 'gsm-symbolic' has no split {split!r}; it has {', '.join(SYMBOLIC_SPLITS)}")
    try:
        import reasoning_gym
    except ImportError as error:
        raise ValueError("gsm-symbolic needs the package reasoning-gym: pip install 'latentseek-kit[symbolic]'") from error
    # The package draws entry i by the seed plus i, so near seeds would share entries; these are far apart.
    far_seed = random.Random(f"gsm-symbolic/{seed}").getrandbits(32)
    drawn: dict[str, Problem] = {}
    for entry in reasoning_gym.create_dataset("gsm_symbolic", size=10 * count + 1000, seed=far_seed):
        question = entry["question"].removesuffix(" Give the result as your final answer. Do not include units.")
        if question not in drawn and _symbolic_split(question) == split:
            worked = entry["metadata"]["answer_cot"].rpartition("####")[0].strip()
            drawn[question] = Problem(f"{split}-{seed}-{len(drawn)}", question, entry["answer"], "gsm-symbolic", worked)
        if len(drawn) == count:
            break
    return list(drawn.values())


def _symbolic_split(question: str) -> str:
    digest = hashlib.sha256(question.encode()).digest()
    return SYMBOLIC_SPLITS[int.from_bytes(digest[:8], "big") % len(SYMBOLIC_SPLITS)]


GENERATORS["gsm-symbolic"] = draw_symbolic
