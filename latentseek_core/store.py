"""A run's files: settings, origin, and one JSON line a problem; as a folder while it is written, as one zip when it is packed.

What is in the folder at any moment is whole: settings and origin are replaced at once, and lines are appended and flushed to
disk, so that a kill can only tear the last one.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

CONFIG, ORIGIN, RESULTS = "config.yaml", "origin.json", "results.jsonl"
Row = dict[str, Any]


def packed(folder: Path) -> Path:
    """Where a packed run lies: a zip beside its folder."""
    return folder.with_name(folder.name + ".zip")


def root_of(path: Path) -> Path | zipfile.Path | None:
    """A run's files, to be read from its folder or from its zip; None where neither is there."""
    if (path / CONFIG).is_file():
        return path
    archive = path if path.suffix == ".zip" else packed(path)
    try:
        return zipfile.Path(archive) if archive.is_file() else None
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive} is no packed run ({error}); unpack it by hand, or remove it") from error


@lru_cache
def _parsed(text: str) -> Any:
    return yaml.safe_load(
        text
    )  # remembered by its text: a prompt is read for every problem, and counts as it is when it is edited


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a YAML file: a run's `config.yaml`, a recipe, a prompt, or one written by hand.

    Raises:
        ValueError: no such file, or no YAML of names and values.
    """
    try:
        values = _parsed(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} can't be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, Mapping):
        raise ValueError(f"{path} holds no settings; write one `name: value` a line")
    return dict(values)


def read_config(root: Path | zipfile.Path) -> dict[str, Any]:
    return yaml.safe_load((root / CONFIG).read_text(encoding="utf-8"))


def read_origin(root: Path | zipfile.Path) -> dict[str, Any]:
    """What the run's sessions were made with: `inputs` (SHA-256 by file) and `sessions`, in order; empty before the first."""
    return json.loads((root / ORIGIN).read_text(encoding="utf-8")) if (root / ORIGIN).exists() else {}


def read_rows(root: Path | zipfile.Path) -> list[Row]:
    """The lines of a results file; a last line that a kill cut off doesn't count.

    Raises:
        ValueError: a damaged line before the last, or two lines for one problem; the message names it.
    """
    return _parse((root / RESULTS).read_bytes(), f"{root}/{RESULTS}")[0] if (root / RESULTS).exists() else []


def _parse(content: bytes, where: str) -> tuple[list[Row], int]:
    """The rows, and how many bytes hold them."""
    lines, rows, length = content.split(b"\n"), {}, 0
    last = max((number for number, line in enumerate(lines) if line.strip()), default=-1)
    for number, line in enumerate(lines[: last + 1]):
        try:
            row = json.loads(line.decode("utf-8"))
            place = row["problem_id"]
        except (ValueError, KeyError, TypeError) as error:
            if number == last:
                break
            raise ValueError(
                f"{where}, line {number + 1}: damaged ({error}); remove that line, and the run does its problem again"
            ) from error
        if number == len(lines) - 1:
            break  # no line break behind it: perhaps not all of it
        if place in rows:
            raise ValueError(f"{where}, line {number + 1}: a second line for problem {place}; remove one of the two")
        rows[place], length = row, length + len(line) + 1
    return list(rows.values()), length


def as_lines(rows: Sequence[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8", "surrogatepass")


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file so that at any moment either the old or the new one is there, whole."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


@contextmanager
def writing(folder: Path) -> Iterator["Writer"]:
    """The only writer of a run's folder.

    Raises:
        ValueError: another process is writing there.
        OSError: the folder can't be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"another process is writing to {folder}; wait for it, or choose another folder") from error
    try:
        yield Writer(folder)
    finally:
        lock.release()


class Writer:
    """Appends to a run's folder; first drops a last line that a kill cut off."""

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / RESULTS
        self.rows: list[Row] = []
        if self.path.exists():
            content = self.path.read_bytes()
            self.rows, length = _parse(content, str(self.path))
            if length < len(content):
                os.truncate(self.path, length)

    def append(self, rows: Sequence[Row]) -> list[Row]:
        """Writes the rows of problems that have none yet; returns those."""
        known = {row["problem_id"] for row in self.rows}
        new = [row for row in rows if row["problem_id"] not in known]
        with self.path.open("ab") as file:
            file.write(as_lines(new))
            file.flush()
            os.fsync(file.fileno())
        self.rows += new
        return new

    def write_config(self, text: str) -> None:
        replace_file(self.folder / CONFIG, text.encode())

    def write_origin(self, origin: Mapping[str, Any]) -> None:
        replace_file(self.folder / ORIGIN, (json.dumps(origin, indent=1) + "\n").encode())

    def replace_rows(self, rows: Sequence[Row]) -> None:
        replace_file(self.path, as_lines(rows))
        self.rows = list(rows)


def pack_folder(folder: Path) -> Path:
    """Writes a run's files into one compressed file beside the folder."""
    return _write_zip(packed(folder), {name: (folder / name).read_bytes() for name in (CONFIG, ORIGIN, RESULTS)})


def replace_packed_rows(archive: Path, rows: Sequence[Row]) -> None:
    with zipfile.ZipFile(archive) as before:
        files = {name: before.read(name) for name in before.namelist()}
    _write_zip(archive, files | {RESULTS: as_lines(rows)})


def _write_zip(archive: Path, files: Mapping[str, bytes]) -> Path:
    """Always the same bytes for the same contents: no times are noted."""
    part = archive.with_name(archive.name + ".part")
    with zipfile.ZipFile(part, "w") as target:
        for name, content in files.items():
            target.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 9)
    part.replace(archive)
    return archive


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
