"""Prompts are data."""

import pytest

from latentseek_core import Problem, render_prompt
from latentseek_core.prompts import SHIPPED, prompt_style, verifier_prompt

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


FORM = "style: boxed\nmessages:\n  - role: user\n    content: '{question}'\n"


def test_a_file_that_is_edited_counts_as_it_is(tmp_path):
    own = tmp_path / "own.yml"
    for words in ("Now: ", "Then: "):
        own.write_text(FORM.replace("{q", words + "{q"))
        assert render_prompt(PROBLEM, style=own)[0]["content"] == f"{words}How many {{eggs}}?"


@pytest.mark.parametrize(("before", "after", "said"), [
    ("style: boxed\n", "", "`style`: Field required"),
    ("boxed", "bxed", "`style`: Input should be 'boxed' or 'json'"),
    ("messages", "mesages", "`messages`: Field required"),
    ("  - role: user\n    content: '{question}'\n", "  role: user\n", "`messages`: Input should be a valid list"),
    ("'{question}'", "{question}", "`messages.0.content`: Input should be a valid string"),  # YAML reads a mapping there
    ("{question}", "Solve it.", "`messages`: the last one must hold {question}"),
    ("    content", "   content", "own.yaml can't be read as YAML: .* line 4"),
    (FORM, "Solve this: it", "`style`: Field required"),
    (FORM, "Solve {question}", "own.yaml holds no settings; write one `name: value` a line"),
    (FORM, "", "own.yaml holds no settings"),
])  # fmt: skip
def test_a_faulty_prompt_is_refused_in_a_sentence(before, after, said, tmp_path):
    own = tmp_path / "own.yaml"
    assert before in FORM
    own.write_text(FORM.replace(before, after))
    with pytest.raises(ValueError, match=said) as refused:
        prompt_style(own)
    assert str(own) in str(refused.value)


def test_a_prompt_file_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"there is no prompt file {tmp_path}/own.yaml"):
        prompt_style("own.yaml")


def test_examples_need_their_form(tmp_path):
    (tmp_path / "own.yaml").write_text(FORM)
    with pytest.raises(ValueError, match="own.yaml has no `shot`"):
        render_prompt(PROBLEM, style=tmp_path / "own.yaml", shots=[PROBLEM])


@pytest.mark.parametrize(("before", "after", "said"), [
    ("opening: ", "open: ", "`opening`: Field required"),
    ("{answer}", "it", "`opening`: it must hold {question} and {answer}"),
    ("weight: 1", "wait: 1", "`checks.answer_correct.weight`: Field required"),
])  # fmt: skip
def test_faulty_verifiers_are_refused_in_a_sentence(before, after, said, tmp_path):
    text = (SHIPPED / "verifiers.yaml").read_text()
    assert before in text
    (tmp_path / "own.yaml").write_text(text.replace(before, after))
    with pytest.raises(ValueError, match=f"own.yaml can't be used: {said}"):
        verifier_prompt(tmp_path / "own.yaml")


def test_an_empty_question_is_refused():
    with pytest.raises(ValueError, match="problem '7' of 'gsm8k' has an empty question"):
        Problem("7", "  ", "1", "gsm8k")
