"""A report on a model: every notebook that takes a model and a benchmark, executed with these two, as a book."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..origin import PACKAGES, commit
from ..policy import embedded_models
from ..store import replace_file
from .book import ROOT, build_book, check_book_tools
from .notebooks import check_parameters, closing_text, execute, source_hash

OWN_RUNS = {"recompute": False}  # go on with the runs that lie in the report's folder


def report(
    model: str, benchmark: str, out: Path, *, quick: bool = False, only: str = "", parameters: Mapping[str, Any] | None = None
) -> Path:
    """Executes the notebooks, then builds their book; returns its front page. Called again, it goes on where it was.

    Args:
        model, benchmark: as notebooks take them.
        out: gets `notebooks` (executed), `runs` (what each of them wrote) and `book`.
        quick: few problems and iterations.
        only: numbers of notebooks, such as `02,06`; all of them by default.
        parameters: further values, each for every notebook that has this parameter.

    Raises:
        ValueError: a value that notebooks don't take, no such notebook, or a folder with a report on something else.
        RuntimeError: the book can't be built here, or notebooks stopped; the book of the others is built before.
    """
    check_book_tools()
    model, benchmark = _absolute(model), _absolute(benchmark)
    asked = {"model": model, "benchmark": benchmark, "quick": quick, **(parameters or {})}
    chosen = {path: _for(path, asked, out) for path in _chosen(only)}
    if unknown := set(asked) - {name for given in chosen.values() for name in given}:
        raise ValueError(f"none of these notebooks has a parameter {min(unknown)!r}")
    for path, given in chosen.items():
        check_parameters(path, given)
    stopped = _execute_all(chosen, out, _begun(out, asked))
    finished = [out / "notebooks" / path.name for path in chosen if path.stem not in stopped]
    title = f"LatentSeek on {Path(model).name}"
    page = build_book(out / "book", finished, _front(title, asked, finished, stopped), title) if finished else None
    if stopped:
        rest = f"; the book of the others: {page}" if page else ""
        raise RuntimeError(f"{len(stopped)} of {len(chosen)} notebooks stopped: {'; '.join(stopped.values())}{rest}")
    return page


def _execute_all(chosen: Mapping[Path, dict[str, Any]], out: Path, done: dict[str, Any]) -> dict[str, str]:
    """Executes what is not done yet and notes each as soon as it is; what stopped, with its reason."""
    stopped = {}
    with tqdm(chosen.items(), unit="notebook", desc="report") as bar:
        for path, given in bar:
            bar.set_description(path.stem)
            made = _state(path, given)
            if done["notebooks"].get(path.stem) == made and (out / "notebooks" / path.name).is_file():
                continue
            try:
                executed = execute(path, given, out / "unfinished", progress=False)
            except RuntimeError as error:
                stopped[path.stem] = str(error)
                continue
            (out / "notebooks").mkdir(exist_ok=True)
            executed.replace(out / "notebooks" / path.name)
            done["notebooks"][path.stem] = made
            replace_file(out / "report.json", json.dumps(done, ensure_ascii=False, indent=1).encode())
    return stopped


def _absolute(name: str) -> str:
    """A folder or file from here, as notebooks find it from theirs."""
    return str(Path(name).resolve()) if name not in embedded_models() and Path(name).exists() else name


def _takes(path: Path) -> dict[str, str]:
    """The lines of a notebook's `parameters` cell, by name."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    cell = next(cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    return {line.partition(" = ")[0]: line for line in "".join(cell["source"]).splitlines() if " = " in line}


def _chosen(only: str) -> list[Path]:
    """The notebooks that take a model and a benchmark, in order."""
    known = [path for path in sorted((ROOT / "notebooks").glob("*.ipynb")) if {"model", "benchmark"} <= set(_takes(path))]
    numbers = [number.strip().zfill(2) for number in only.split(",") if number.strip()]
    if wrong := set(numbers) - {path.name[:2] for path in known}:
        raise ValueError(f"no notebook {min(wrong)} takes a model; there are {', '.join(path.name[:2] for path in known)}")
    return [path for path in known if not numbers or path.name[:2] in numbers]


def _for(path: Path, asked: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """What of the values asked for a notebook takes, and its own folder."""
    given = asked | OWN_RUNS | {"out": str(out.resolve() / "runs" / path.stem)}
    if _takes(path).get("recompute", "").startswith("recompute = False"):
        given.pop("recompute")
    return {name: value for name, value in given.items() if name in _takes(path)}


def _state(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """What an executed notebook depends on, apart from the kit."""
    import nbformat

    return {"source": source_hash(nbformat.read(path, as_version=4)), "parameters": dict(given)}


def _begun(out: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the folder says of an earlier call."""
    file = out / "report.json"
    begun = json.loads(file.read_text("utf-8")) if file.is_file() else {"asked": dict(asked), "notebooks": {}}
    if begun["asked"] != dict(asked):
        differing = min(name for name in begun["asked"].keys() | asked if begun["asked"].get(name) != asked.get(name))
        raise ValueError(
            f"{out} holds a report with another {differing}, {begun['asked'].get(differing)!r}; choose another folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    return begun


def _front(title: str, asked: Mapping[str, Any], finished: Sequence[Path], stopped: Mapping[str, str]) -> str:
    """The report's first page: what was asked, and the closing lines of each notebook."""
    made = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    lines = [f"# {title}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | `{value}` |" for name, value in {**asked, "model": Path(str(asked["model"])).name}.items()]
    lines += [f"| commit | `{commit()}` |", f"| versions | Python {platform.python_version()}, {made} |", ""]
    if asked["quick"]:
        lines += ["**A quick report**: a few problems and iterations, to see that everything works. Its figures say nothing.", ""]
    lines += [
        "Each notebook's closing lines; the notebooks have the figures, what they were made from, and what they don't show.",
        "",
    ]
    lines += [f"`{name}` stopped: {' '.join(said.split())}\n" for name, said in stopped.items()]
    for path in finished:
        lines += [f"## [{_heading(path)}](notebooks/{path.name})", "", "```text", closing_text(path).strip(), "```", ""]
    return "\n".join(lines)


def _heading(path: Path) -> str:
    """A notebook's title."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    return "".join(cells[0]["source"]).splitlines()[0].lstrip("# ")
