"""Prompts are data."""

import pytest

from latentseek_core import Problem, render_prompt
from latentseek_core.prompts import prompt_style

PROBLEM = Problem("1", "How many {eggs}?", "18", "gsm8k", "9+9=18.")


def test_the_two_prompts():
    boxed = render_prompt(PROBLEM)
    assert [m["role"] for m in boxed] == ["system", "user"]
    assert "\\boxed{}" in boxed[0]["content"]
    assert boxed[1]["content"] == "How many {eggs}?"
    asked = render_prompt(PROBLEM, style="json")[1]["content"]
    assert "How many {eggs}?" in asked
    assert '{"thought process": "...", "final answer": "..."}' in asked
    assert asked.endswith("bare number.")
    assert not render_prompt(Problem("1", "x", "y", "math500"), style="json")[1]["content"].endswith("bare number.")


def test_examples_are_earlier_turns():
    messages = render_prompt(PROBLEM, shots=[PROBLEM, PROBLEM])
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert messages[2]["content"] == r"9+9=18. The answer is \boxed{18}."
    assert (
        render_prompt(PROBLEM, style="json", shots=[PROBLEM])[2]["content"]
        == '{"thought process": "9+9=18.", "final answer": "18"}'
    )


def test_own_prompt_files(tmp_path):
    own = tmp_path / "prompts" / "boxed.yaml"
    own.parent.mkdir()
    own.write_text("style: boxed\nmessages: [{role: user, content: 'Now: {question}'}]\n")
    expected = [{"role": "user", "content": "Now: How many {eggs}?"}]
    assert render_prompt(PROBLEM, style=own) == expected
    assert render_prompt(PROBLEM, folder=tmp_path) == expected
    assert prompt_style(own) == "boxed"
    with pytest.raises(ValueError, match="unknown prompt 'xml': use one of boxed, json, or the path of a .yaml file"):
        render_prompt(PROBLEM, style="xml")


def test_an_empty_question_is_refused():
    with pytest.raises(ValueError, match="problem '7' of 'gsm8k' has an empty question"):
        Problem("7", "  ", "1", "gsm8k")
