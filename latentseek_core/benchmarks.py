"""The rows of a benchmark, wherever they lie: a JSON-lines or parquet file, a folder of such, a saved `datasets` folder, the hub.

A row is a dict of columns together with its place (file and line), so that whatever is wrong with it can be said in a sentence.
What the known data sets are called and which columns they have stands here too; `problems.py` makes problems of the rows.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .hub import offline_if_unreachable

# The columns that the hub's data sets have, and those of our own files: (id, question, answer, solution).
COLUMNS = {
    "own": ("id", "question", "answer", "solution"),
    "aime2024": ("ID", "Problem", "Answer", "Solution"),
    "math500": ("unique_id", "problem", "answer", "solution"),
    "gsm8k": (None, "question", "answer", "answer"),
}


@dataclass(frozen=True)
class HubData:
    """A data set of the hub: its id, its configuration, and its splits (our name: the hub's)."""

    hub_id: str
    config: str | None
    splits: dict[str, str]


HUB = {
    "gsm8k": HubData("openai/gsm8k", "main", {"test": "test", "train": "train"}),
    "math500": HubData("HuggingFaceH4/MATH-500", None, {"test": "test"}),
    "aime2024": HubData("Maxwell-Jia/AIME_2024", None, {"test": "train"}),
}
SUFFIXES = (".jsonl", ".json", ".parquet")


class Rows(NamedTuple):
    """The rows of one split, each with its place: `("test.jsonl, line 3", {"question": …})`."""

    split: str
    rows: list[tuple[str, dict[str, Any]]]


def kind_of(row: dict[str, Any]) -> str:
    """Whose columns a row has, a key of `COLUMNS`.

    Raises:
        ValueError: nobody's; the sentence says what is there and what a problem needs.
    """
    for kind, (name, question, answer, _) in COLUMNS.items():
        if all(column in row for column in (name, question, answer) if column):
            return kind
    there = ", ".join(row) or "none"
    known = "GSM8K (question, answer), MATH-500 (unique_id, problem, answer) or AIME2024 (ID, Problem, Answer)"
    raise ValueError(f"its columns are {there}; a problem needs id, question and answer, or those of {known}")


# --- files and folders ---


def read_file(path: Path, split: str = "test") -> Rows:
    """The rows of a file. Asked for another split than `test`, it is the file beside it with that name in place of `test`.

    Raises:
        ValueError: a file of another kind, broken or empty, or no file of that split.
    """
    found = re.search(r"(?<![a-z])(test|tune|wide|train|validation)(?![a-z])", path.stem)
    own_split = found[1] if found else "test"
    if split in ("test", own_split):
        return Rows(own_split, _read(path))
    beside = path.with_name(re.sub(r"(?<![a-z])test(?![a-z])", split, path.name))
    if beside == path or not beside.is_file():
        missing = f"no {beside.name}" if beside != path else f"no file named after {split!r}"
        raise ValueError(f"{path} has no split {split!r}: there is {missing} beside it")
    return Rows(split, _read(beside))


def read_folder(folder: Path, split: str) -> Rows:
    """The rows of a split in a folder: saved with `datasets.save_to_disk`, or one file a split, as the hub's repositories have.

    Raises:
        ValueError: no such split there, or a broken file.
    """
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return _read_saved(folder, split)
    if files := _files_of(folder, split):
        return Rows(split, [row for file in files for row in _read(file)])
    lone = [file for suffix in SUFFIXES for file in folder.glob(f"*{suffix}")]
    if split == "test" and len(lone) == 1:
        rows = read_file(lone[0])
        if rows.split == "test" or _is_aime(rows.rows[0][1]):
            return rows
    raise ValueError(f"{folder} holds no {split}.jsonl, {split}.parquet or {split}-00000-of-00001.parquet")


def _files_of(folder: Path, split: str) -> list[Path]:
    """The file of a split, or its numbered parts, in the folder itself or where the hub's repositories put them."""
    for place in (folder, folder / "main", folder / "data"):
        for suffix in SUFFIXES:
            if (file := place / f"{split}{suffix}").is_file():
                return [file]
            if parts := sorted(place.glob(f"{split}-*-of-*{suffix}")):
                if len(parts) != int(parts[0].stem.rsplit("-", 1)[1]):
                    raise ValueError(f"{place} holds {len(parts)} of the parts of {parts[0].name}; get the others too")
                return parts
    return []


def _read_saved(folder: Path, split: str) -> Rows:
    import datasets

    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{folder} can't be read as a saved datasets folder: {_reason(error)}") from error
    if not isinstance(saved, datasets.DatasetDict):
        saved = {str(saved.split or "test"): saved}
        split = next(iter(saved)) if split == "test" else split
    if split == "test" and list(saved) == ["train"] and _is_aime(saved["train"].features):
        split = "train"
    if split not in saved:
        raise ValueError(f"{folder} has no split {split!r}; it has {', '.join(saved)}")
    return Rows(split, _numbered(folder, saved[split].to_list()))


def _read(path: Path) -> list[tuple[str, dict[str, Any]]]:
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} is no benchmark file; it must be one of {', '.join(SUFFIXES)}")
    if path.suffix == ".parquet":
        from pyarrow import parquet

        try:
            table = parquet.read_table(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} can't be read as parquet: {_reason(error)}") from error
        return _numbered(path, table.to_pylist())
    rows = [_parse(f"{path}, line {number}", line) for number, line in enumerate(_lines(path), 1)]
    return rows or _numbered(path, [])


def _lines(path: Path) -> list[bytes]:
    text = path.read_bytes().rstrip()
    return text.split(b"\n") if text else []


def _parse(place: str, line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else _reason(error)
        raise ValueError(f"{place}: not a problem (bad JSON: {reason})") from error
    if not isinstance(row, dict):
        raise ValueError(f"{place}: not a problem (a line must hold a JSON object, this is a {type(row).__name__})")
    return place, row


# --- the hub ---


def read_hub(name: str, split: str) -> Rows:
    """The rows of a data set of the hub, by our name or the hub's id; from the local cache where the hub can't be reached.

    Raises:
        ValueError: no such data set or split, or neither network nor a cached copy; the sentence says how to get the file here.
    """
    import datasets

    short = {data.hub_id.lower(): data for data in HUB.values()}
    data = HUB.get(name) or short.get(name.lower()) or HubData(name, None, {split: split})
    if split not in data.splits:
        raise ValueError(f"benchmark {name!r} has no split {split!r}; it has {', '.join(data.splits)}")
    try:
        with offline_if_unreachable():
            rows = datasets.load_dataset(data.hub_id, data.config, split=data.splits[split])
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        here = "" if name in HUB else "is no file or folder here and "
        raise ValueError(
            f"{data.hub_id} {here}can't be had from the hub ({_reason(error)}); on a machine with network run "
            f"`hf download --repo-type dataset {data.hub_id} --local-dir {data.hub_id.split('/')[-1]}`, "
            "bring the folder here and give its path as the benchmark"
        ) from error
    return Rows(split, _numbered(data.hub_id, rows.to_list()))


def _numbered(source: str | Path, rows: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    if not rows:
        raise ValueError(f"{source} is empty; it must hold at least one problem")
    return [(f"{source}, row {number}", row) for number, row in enumerate(rows, 1)]


def _is_aime(columns: Any) -> bool:
    """AIME2024 calls its only split `train`, so this is the one data set whose `train` may stand for `test`."""
    return {"ID", "Problem", "Answer"} <= set(columns)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
