"""Executes notebooks with papermill: parameter names checked first, the result as a page, the closing table on the terminal."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .problems import DATA

KERNEL = "python3"  # the one of the environment that this runs in


def execute(path: Path, parameters: Mapping[str, Any], folder: Path | None) -> Path:
    """Executes a notebook and returns the path of the executed one.

    Args:
        path: the notebook.
        parameters: values for its `parameters` cell.
        folder: where the executed notebook and its page go; None executes in place and writes no page.

    Raises:
        ValueError: no such notebook, or a parameter that it doesn't have.
        RuntimeError: a cell failed.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    known = papermill.inspect_notebook(str(path))
    if unknown := set(parameters) - set(known):
        raise ValueError(f"{path.name} has no parameter {sorted(unknown)[0]!r}; it has {', '.join(known) or 'none'}")
    executed = folder / path.name if folder else path
    executed.parent.mkdir(parents=True, exist_ok=True)
    # Over a socket file rather than a port where the system has them: nothing for the neighbours to listen to.
    config = Config({"KernelManager": {"transport": "ipc"}} if os.name == "posix" else {})
    where = {"kernel_name": KERNEL, "cwd": str(path.parent), "config": config}
    try:
        papermill.execute_notebook(str(path), str(executed), dict(parameters), **where)
    except PapermillExecutionError as error:
        raise RuntimeError(
            f"{path.name} stopped in cell {error.exec_count}: {error.ename}: {error.evalue} (see {executed})"
        ) from error
    _tidy(executed)
    return executed


def find_notebook(name: str) -> Path:
    """A notebook by path, or by the name it has in the kit's `notebooks/`.

    Raises:
        ValueError: neither is there.
    """
    path, own = Path(name), DATA.parent / "notebooks"
    if path.is_file():
        return path
    if (own / f"{path.stem}.ipynb").is_file() and path.parent == Path("."):
        return own / f"{path.stem}.ipynb"
    known = ", ".join(sorted(found.stem for found in own.glob("*.ipynb")))
    raise ValueError(f"there is no notebook {name}; give a path" + (f", or one of {known}" if known else ""))


def _tidy(path: Path) -> None:
    """Takes finished progress bars out of a notebook's outputs, leaves warnings in, and drops what only says when it ran where."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                lines = re.split(r"[\r\n]+", output.text)
                output.text = "\n".join(line for line in lines if not re.search(r"%\||TqdmWarning|autonotebook", line)).strip()
        cell.metadata.pop("papermill", None)  # times and absolute paths, which differ at every run
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr" or output.text]
    notebook.metadata.pop("papermill", None)
    nbformat.write(notebook, path)


def to_page(executed: Path) -> Path:
    """Writes the executed notebook as an HTML page beside it."""
    from nbconvert import HTMLExporter

    page = executed.with_suffix(".html")
    page.write_text(HTMLExporter().from_filename(str(executed))[0], encoding="utf-8")
    return page


def closing_text(executed: Path) -> str:
    """The plain text that the notebook's cell tagged `closing` showed."""
    import nbformat

    cells = nbformat.read(executed, as_version=4).cells
    outputs = [output for cell in cells if "closing" in cell.metadata.get("tags", []) for output in cell.get("outputs", [])]
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)
