"""Executes notebooks with papermill: parameters checked first, the result as a page, the closing table on the terminal."""

import ast
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..benchmarks import HUB
from ..configs import RunConfig, make_config
from ..policy import embedded_models
from ..problems import DATA, GENERATORS, load_benchmark
from ..prompts import prompt_style
from ..store import sha256

KERNEL = "python3"  # the one of the environment that this runs in


def execute(path: Path, parameters: Mapping[str, Any], folder: Path | None, progress: bool = True) -> Path:
    """Executes a notebook and returns the path of the executed one.

    Args:
        path: the notebook.
        parameters: values for its `parameters` cell.
        folder: where the executed notebook and its page go; None executes in place and writes no page.
        progress: show a bar of the cells.

    Raises:
        ValueError: no such notebook, a parameter that it doesn't have, or a value that the parameter can't take.
        RuntimeError: a cell failed.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    check_parameters(path, parameters)
    executed = folder / path.name if folder else path
    executed.parent.mkdir(parents=True, exist_ok=True)
    try:
        with TemporaryDirectory() as sockets:  # a place of its own: notebooks may run side by side
            # Over socket files rather than ports where the system has them: nothing for the neighbours to listen to.
            how = {"transport": "ipc", "ip": str(Path(sockets) / "kernel")} if os.name == "posix" else {}
            where = {"kernel_name": KERNEL, "cwd": str(path.parent), "config": Config({"KernelManager": how})}
            where["progress_bar"] = progress
            papermill.execute_notebook(str(path), str(executed), dict(parameters), **where)
    except PapermillExecutionError as error:
        raise RuntimeError(
            f"{path.name} stopped in cell {error.exec_count}: {error.ename}: {error.evalue} (see {executed})"
        ) from error
    _tidy(executed)
    return executed


def check_parameters(path: Path, parameters: Mapping[str, Any]) -> None:
    """Refuses what a notebook can't take before a kernel is started for it: names, types, and values of the shared parameters.

    Raises:
        ValueError: the first that is wrong, and what it takes.
    """
    import papermill

    known = papermill.inspect_notebook(str(path))
    if unknown := set(parameters) - set(known):
        raise ValueError(f"{path.name} has no parameter {sorted(unknown)[0]!r}; it has {', '.join(known) or 'none'}")
    for name, value in parameters.items():
        default = ast.literal_eval(known[name]["default"])
        kinds = (int, float) if isinstance(default, float) else (type(default),)
        if default is not None and type(value) not in kinds:
            raise ValueError(f"{path.name}: {name} is {value!r}; it takes a {type(default).__name__}, such as {default!r}")
    shared = {"limit" if name == "n" else name: value for name, value in parameters.items() if value != ""}
    settings = {name: value for name, value in shared.items() if name in RunConfig.model_fields}
    make_config(**{"model": "any", "benchmark": "any", "reward": "self"} | settings | {"out": "anywhere"})
    if "prompt" in shared:
        prompt_style(shared["prompt"])
    model, benchmark = str(shared.get("model", "a/b")), str(shared.get("benchmark", "a/b"))
    if "/" not in model and model not in embedded_models() and not Path(model).exists():
        raise ValueError(
            f"unknown model {model!r}: use one of {', '.join(embedded_models())}, a folder, or a hub id (OWNER/NAME)"
        )
    if "/" not in benchmark and benchmark not in HUB:
        load_benchmark(benchmark, split="train" if benchmark in GENERATORS else "test", limit=1)


def find_notebook(name: str) -> Path:
    """A notebook by path, or by the name or the number it has in the kit's `notebooks/`.

    Raises:
        ValueError: neither is there.
    """
    path, own = Path(name), DATA.parent / "notebooks"
    if path.is_file():
        return path
    pattern = f"{name.zfill(2)}_*.ipynb" if name.isdecimal() else f"{path.stem}.ipynb"
    if path.parent == Path(".") and (found := sorted(own.glob(pattern))):
        return found[0]
    known = ", ".join(sorted(found.stem for found in own.glob("*.ipynb")))
    raise ValueError(f"there is no notebook {name}; give a path" + (f", a number, or one of {known}" if known else ""))


def _tidy(path: Path) -> None:
    """Takes finished progress bars out of a notebook's outputs, leaves warnings in, and drops what only says when it ran where."""
    import nbformat
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor

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
            CoalesceStreamsPreprocessor().preprocess_cell(cell, {}, 0)  # where the kernel cuts what is printed is chance
    notebook.metadata.pop("papermill", None)
    notebook.metadata["source_sha256"] = source_hash(notebook)
    nbformat.write(notebook, path)


def source_hash(notebook: Mapping[str, Any]) -> str:
    """SHA-256 of what a notebook's outputs come from: its code, and the weights of the embedded models that the code names.

    It is kept in the metadata when the notebook is executed, and tells later whether the outputs still belong there.
    """
    code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    if any("injected-parameters" in cell["metadata"].get("tags", []) for cell in notebook["cells"]):
        return ""  # executed with other parameters than the notebook's own
    named = [name for name in embedded_models() if any(name in cell for cell in code)]
    weights = [sha256(DATA / "models" / name / "model.safetensors") for name in named]
    return hashlib.sha256("\0".join(code + weights).encode()).hexdigest()


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
