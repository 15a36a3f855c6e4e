"""Calculations in texts: known ones, and the embedded model's answers against its own checker."""

from pathlib import Path

import pytest

from latentseek_core import load_runs
from latentseek_core.analyses.calculations import calculations
from latentseek_core.tiny import checks

RUNS = Path(__file__).resolve().parents[1] / "data" / "runs" / "tiny-gsm" / "*" / "latentseek-*"

KNOWN = [
    ("so 27-21=4 eggs stay, and 4+152=156", [False, True]),
    ("27-21~6=6 eggs, then 6+152~851=159", [True, False]),
    ("3 * (2 + 4) = 3*6 = 18", [True, True]),
    ("3*4 = 12 + 5 = 17", [True, True]),  # run on, as schoolchildren write
    ("10/3 = 3.33, 10/3 = 3, 10/3 ≈ 3, 10/3 ≈ 4", [True, False, True, False]),
    ("0.1 + 0.2 = 0.3", [True]),  # exactly
    (r"\(\frac{3}{4} \times 8 = 6\) and $12 \div 4 = 4$", [True, False]),
    ("$1,200 - $200 = $1,000 and 7 × 8 − 6 = 50", [True, True]),
    ("20% * 50 = 10", [True]),
    ("- 3 + 4 = 7\n* 5 x 3 = 16\n-3 + 5 = 2", [True, False, True]),
    ("y = 3 + 4 = 7 (and 1 + 1 = 3)", [True, False]),
    ("step 2. 3 + 4 = 7. Then 5 1 + 1 = 2", [True, True]),
    ("<<3*4=12>>12", [True]),
    ("((3+4)*2 = 14", [True]),
    ("7 - 10 = -3 and 1 + 1 = -2", [True, False]),
    ("007 + 5 = 12", [True]),
    ("999999999999999999999*9=8999999999999999999991", [True]),
    # what has words or unknowns in it, or no value
    ("2x + 3 = 7, x - 3 + 4 = 10, f(3)+4=7, 5! + 3 = 123, 3^2 + 4 = 13, x -3 + 5 = 2", []),
    ("12 apples + 3 apples = 15, 3 hours * 4 = 12, twice 6 = 12, 1/0 = 3, 2 + = 4, 3 + 4 = x", []),
    ("", []),
]


@pytest.mark.parametrize(("text", "verdicts"), KNOWN, ids=[text[:30] for text, _ in KNOWN])
def test_known_calculations(text, verdicts):
    assert [found.right for found in calculations(text)] == verdicts


def test_what_is_told_of_a_calculation():
    (found,) = calculations("Now 4 × 15 = 50 stones.")
    assert (found.text, found.value) == ("4 * 15 = 50", 60)


def test_agrees_with_the_embedded_models_checker():
    """On every answer of the committed searches that states results in whole numbers."""
    seen = 0
    for steps in load_runs(RUNS).steps[::10]:
        for text in (step["answer_text"] for step in steps):
            attempts = checks.attempts(text)
            if None in attempts:
                continue
            expected = [checks.check_equation(*equation)[1] for equation in attempts]
            found = [calculation.right for calculation in calculations(text)]
            if len(expected) == len(found):
                assert found == expected, text
                seen += len(found)
    assert seen > 500


@pytest.mark.parametrize("text", ["1+" * 10_000 + "=", "(" * 10_000, "1 " * 10_000, "-" * 10_000 + "1", "( 1 + " * 5000 + "=3"])
def test_endless_texts_end(text):
    assert all(len(found.text) < 300 for found in calculations(text))
