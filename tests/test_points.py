"""What a notebook asserts can fail: its `point` cell, run alone on numbers on which the point is false."""

import ast
import traceback
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))

# One entry a notebook: values on which all assertions of its `point` cell hold, and changes to them, at least one an assertion,
# that make it fail.
DOCTORED = {
    "01_policy_gradient": {
        "true": {
            "hand_gap": 1e-16,
            "autograd_gap": 1e-16,
            "sampling_error": 1.9,
            "baseline_shift": 1e-17,
            "variance_plain": 0.62,
            "variance_mean": 0.144,
            "variance_least": 0.140,
            "suffix_gap": 1e-16,
            "greedy_gap": 1e-16,
            "leak_gap": 0.015,
            "closed_gap": 1e-16,
            "mean_reward": -0.59,
            "best_of": [-0.59, -0.38, -0.27],
            "seek_gap": 1e-7,
            "loss_gap": 1e-8,
            "head_gap": 1e-15,
        },
        "false": [
            {"hand_gap": 1e-3},
            {"autograd_gap": 1e-3},
            {"sampling_error": 6.0},
            {"baseline_shift": 1e-3},
            {"variance_mean": 0.62},
            {"variance_least": 0.2},
            {"suffix_gap": 1e-3},
            {"greedy_gap": 1e-3},
            {"leak_gap": 1e-16},
            {"closed_gap": 1e-3},
            {"mean_reward": -0.5},
            {"best_of": [-0.59, -0.27, -0.38]},
            {"seek_gap": 0.2},
            {"loss_gap": 0.1},
            {"head_gap": 1e-3},
        ],
    },
}


def point_of(path: Path) -> str | None:
    """The source of the notebook's cell tagged `point`; None if it has none."""
    cells = nbformat.read(path, as_version=4).cells
    return next((cell.source for cell in cells if "point" in cell.metadata.get("tags", [])), None)


POINTS = {path.stem: source for path in NOTEBOOKS if (source := point_of(path))}


def assertions(source: str) -> list[ast.Assert]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]


def failing(source: str, values: dict) -> int | None:
    """Runs a `point` cell on values alone; the line where the assertion that failed begins, None if all hold."""
    try:
        exec(compile(source, "point", "exec"), dict(values))
    except AssertionError as error:
        line = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "point"][-1]
        return next(node.lineno for node in assertions(source) if node.lineno <= line <= node.end_lineno)
    return None


def test_every_point_has_its_entry():
    assert set(DOCTORED) == set(POINTS)


@pytest.mark.parametrize("name", DOCTORED)
def test_the_point_holds_on_true_values(name):
    assert failing(POINTS[name], DOCTORED[name]["true"]) is None


@pytest.mark.parametrize(("name", "changes"), [(name, c) for name, entry in DOCTORED.items() for c in entry["false"]], ids=str)
def test_the_point_fails_on_false_values(name, changes):
    assert set(changes) <= set(DOCTORED[name]["true"])
    assert failing(POINTS[name], DOCTORED[name]["true"] | changes)


@pytest.mark.parametrize("name", DOCTORED)
def test_every_assertion_has_been_seen_to_fail(name):
    true, false = DOCTORED[name]["true"], DOCTORED[name]["false"]
    lines = {node.lineno for node in assertions(POINTS[name])}
    assert len(false) >= len(lines) > 0
    assert {failing(POINTS[name], true | changes) for changes in false} == lines
