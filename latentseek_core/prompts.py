"""Prompts as data: the solver prompts and the four verifier prompts, each a YAML file that anyone can edit.

A prompt is named by `boxed` or `json` (the paper's prompts 1 and 2), or by the path of a YAML file of the same form. A model's
folder may bring files of its own under `prompts/`; there they take the place of the files shipped here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from .problems import Problem

SHIPPED = Path(__file__).resolve().parent / "prompts"
SYMBOLIC = {"math500", "tiny-math"}


@lru_cache
def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def load_prompt(name: str | Path, folder: Path | None = None) -> dict[str, Any]:
    """The contents of a prompt file: by path, else from the model's own `folder/prompts/`, else as shipped.

    Raises:
        ValueError: no such prompt; the message lists those there are.
    """
    own = [folder / "prompts" / f"{name}.yaml"] if folder else []
    for path in [Path(name), *own, SHIPPED / f"{name}.yaml"]:
        if path.suffix == ".yaml" and path.is_file():
            return _read(path.resolve())
    known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml") if "messages" in _read(p)))
    raise ValueError(f"unknown prompt {str(name)!r}: use one of {known}, or the path of a .yaml file of that form")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Puts values into `{name}` places in one pass; other braces, and braces within the values, stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda m: str(values.get(m[1], m[0])), template)


def prompt_style(name: str | Path, folder: Path | None = None) -> str:
    """The answer format that a prompt asks for, `boxed` or `json`: what extraction and the format reward go by."""
    return load_prompt(name, folder)["style"]


def render_prompt(
    problem: Problem, *, style: str | Path = "boxed", shots: Sequence[Problem] = (), folder: Path | None = None
) -> list[dict[str, str]]:
    """The chat messages that put a problem to the model (prompts 1 and 2 of appendix F.4).

    Args:
        problem: the question.
        style: `boxed`, `json`, or the path of a YAML prompt file.
        shots: solved problems to show first, as earlier turns of the conversation (few-shot).
        folder: a model's folder, whose own prompt files come first.

    Returns:
        Messages for `Policy.encode`.

    Raises:
        ValueError: unknown style.
    """
    prompt = load_prompt(style, folder)
    numeric = "" if problem.benchmark in SYMBOLIC else prompt.get("numeric", "")
    messages = [dict(message) for message in prompt["messages"]]
    question = messages.pop()

    def ask(asked: Problem) -> dict[str, str]:
        values = {"question": asked.question, "numeric": numeric}
        return {"role": question["role"], "content": fill(question["content"], values)}

    for shot in shots:
        solution = re.sub(r"<<[^>]*>>", "", shot.solution)  # GSM8K's notes for a calculator
        values = {"solution": solution, "solution_json": json.dumps(solution), "answer": shot.answer}
        messages += [ask(shot), {"role": "assistant", "content": fill(prompt["shot"], values)}]
    return [*messages, ask(problem)]


def render_checks(problem: Problem, answer: str, prompt: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """The chat messages of each verifier check on an answer, from a loaded verifier file; all share their opening words."""
    values = {"question": problem.question, "answer": answer}
    opening = fill(prompt["opening"], values)
    return {name: [{"role": "user", "content": opening + check["text"].rstrip("\n")}] for name, check in prompt["checks"].items()}
