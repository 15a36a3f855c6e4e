"""Numeric grading, as rows."""

import pytest

from latentseek_core import extract_answer, is_correct

ROWS = [
    # style, text, gold, strict, loose
    ("boxed", r"so \boxed{18}", "18", True, True),
    ("boxed", r"first \boxed{3}, no: \boxed{18}.", "18", True, True),
    ("boxed", r"\boxed{18", "18", False, True),
    ("boxed", "The answer is 18.", "18", False, True),
    ("boxed", r"\boxed{\$1,200.00}", "1200", True, True),
    ("boxed", r"\boxed{18 \text{ dollars}}", "18", True, True),
    ("boxed", r"\boxed{x = 18}", "18", True, True),
    ("boxed", r"\boxed{2125}", "2,125", True, True),
    ("boxed", r"\boxed{-10}", "-10", True, True),
    ("boxed", r"\boxed{10}", "-10", False, False),
    ("boxed", r"\boxed{14.00}", "14", True, True),
    ("boxed", r"\boxed{025}", "25", True, True),
    ("boxed", r"\boxed{3/4}", "34", False, False),
    ("boxed", r"\boxed{\frac{3}{4}}", r"\frac{3}{4}", True, True),
    ("boxed", r"\boxed{}", "18", False, False),
    ("boxed", "", "18", False, False),
    ("boxed", '{"final answer": "18"}', "18", False, True),
    ("json", '{"thought process": "9+9=18", "final answer": "18"}', "18", True, True),
    ("json", '{"thought process": "9", "final answer": 18}', "18", True, True),
    ("json", '```json\n{"thought process": "…", "final answer": "18"}\n```<|im_end|>', "18", True, True),
    ("json", r'{"thought process": "\(9+9\)", "final answer": "18"}', "18", True, True),
    ("json", r"so \boxed{18}", "18", False, True),
    ("json", '{"final answer": ""}', "18", False, False),
    ("json", "[1, 2]", "2", False, True),
]


@pytest.mark.parametrize(("style", "text", "gold", "strict", "loose"), ROWS)
def test_rows(style, text, gold, strict, loose):
    asked = {"style": style, "benchmark": "gsm8k"}
    assert is_correct(text, gold, **asked) is strict
    assert is_correct(text, gold, **asked, strict=False) is loose


def test_extraction_returns_what_is_stated():
    assert extract_answer(r"\boxed{\text{a }{b}}", style="boxed", benchmark="math500") == r"\text{a }{b}"
    assert extract_answer("nothing", style="boxed", benchmark="gsm8k", strict=False) is None
    with pytest.raises(ValueError, match="unknown answer style 'xml'"):
        extract_answer("", style="xml", benchmark="gsm8k")
