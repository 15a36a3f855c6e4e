"""Notebooks are tests: executed small, as a reader would, and committed with their outputs."""

import json
from pathlib import Path

import pytest

from latentseek_core.notebooks import closing_text, execute, to_page

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_in_order(path):
    cells = json.loads(path.read_text())["cells"]
    tags = [tag for cell in cells for tag in cell["metadata"].get("tags", [])]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert tags.count("parameters") == 1
    assert tags.count("closing") == 1
    assert all(cell["execution_count"] for cell in code), "committed without having been run"
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
    assert all(len("".join(cell["source"]).splitlines()) <= 30 for cell in code)
    assert cells[0]["cell_type"] == "markdown"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_small(path, tmp_path):
    executed = execute(path, {"quick": True, "out": str(tmp_path / "out")}, tmp_path)
    assert closing_text(executed).strip()
    assert "%|" not in executed.read_text(), "a progress bar is left in the outputs"
    assert "<html" in to_page(executed).read_text()


def test_an_unknown_parameter_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no parameter 'rate'; it has model, benchmark"):
        execute(NOTEBOOKS[0], {"rate": 1}, tmp_path)
    with pytest.raises(ValueError, match="there is no notebook"):
        execute(tmp_path / "none.ipynb", {}, tmp_path)
