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
FILES = {".yaml", ".yml"}
SYMBOLIC = {"math500", "tiny-math"}


@lru_cache
def _parsed(text: str) -> Any:
    return yaml.safe_load(text)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = _parsed(path.read_text(encoding="utf-8"))  # by its text: a file that is edited in between counts as it is
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} can't be read as YAML: {' '.join(str(error).split())}; take {SHIPPED} as examples") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} is no prompt: it has no lines `name: value`; take {SHIPPED} as examples")
    return found


def load_prompt(name: str | Path, folder: Path | None = None) -> dict[str, Any]:
    """The contents of a prompt file: by path, else from the model's own `folder/prompts/`, else as shipped.

    Raises:
        ValueError: no such prompt (the message lists those there are), or a file that is no YAML of names and values.
    """
    own = [folder / "prompts" / f"{name}.yaml"] if folder else []
    for path in [Path(name), *own, SHIPPED / f"{name}.yaml"]:
        if path.suffix in FILES and path.is_file():
            return _read(path)
    if Path(name).suffix in FILES:
        raise ValueError(f"there is no prompt file {Path(name).absolute()}")
    known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml") if "messages" in _read(p)))
    raise ValueError(f"unknown prompt {str(name)!r}: use one of {known}, or the path of a .yaml file of that form")


def solver_prompt(name: str | Path, folder: Path | None = None) -> dict[str, Any]:
    """A prompt that puts problems to the model: `style`, `messages`, and what is optional.

    Raises:
        ValueError: no such prompt, or a file of another form.
    """
    prompt = load_prompt(name, folder)
    messages = prompt.get("messages")
    if prompt.get("style") not in ("boxed", "json"):
        fault = "its `style` must be boxed or json, which says how answers are extracted"
    elif not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        fault = "its `messages` must be a list, each with a `role` and a `content` that is text (in quotes, or behind |-)"
    elif "{question}" not in messages[-1]["content"]:
        fault = "its last message must hold {question}, where the problem goes"
    else:
        return prompt
    raise ValueError(f"the prompt {name} can't be used: {fault}; an example is {SHIPPED / 'boxed.yaml'}")


def _is_message(message: Any) -> bool:
    return isinstance(message, Mapping) and all(isinstance(message.get(part), str) for part in ("role", "content"))


def verifier_prompt(name: str | Path, folder: Path | None = None) -> dict[str, Any]:
    """The checks of self-reward: `opening`, `verdict` and `checks`.

    Raises:
        ValueError: no such file, or one of another form.
    """
    prompt = load_prompt(name, folder)
    checks = prompt.get("checks")
    if not all(isinstance(prompt.get(part), str) for part in ("opening", "verdict")):
        fault = "it must have an `opening` and a `verdict`, both text"
    elif not all(place in prompt["opening"] for place in ("{question}", "{answer}")):
        fault = "its `opening` must hold {question} and {answer}"
    elif not isinstance(checks, Mapping) or not checks or not all(map(_is_check, checks.values())):
        fault = "its `checks` must be names, each with a `weight` that is a number and a `text`"
    else:
        return prompt
    raise ValueError(f"the verifiers {name} can't be used: {fault}; an example is {SHIPPED / 'verifiers.yaml'}")


def _is_check(check: Any) -> bool:
    return isinstance(check, Mapping) and isinstance(check.get("weight"), int | float) and isinstance(check.get("text"), str)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Puts values into `{name}` places in one pass; other braces, and braces within the values, stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda m: str(values.get(m[1], m[0])), template)


def prompt_style(name: str | Path, folder: Path | None = None) -> str:
    """The answer format that a prompt asks for, `boxed` or `json`: what extraction and the format reward go by."""
    return solver_prompt(name, folder)["style"]


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
        ValueError: an unknown style, a file that is no prompt, or one without `shot` where examples are to be shown.
    """
    prompt = solver_prompt(style, folder)
    if shots and not isinstance(prompt.get("shot"), str):
        raise ValueError(
            f"the prompt {style} has no `shot`, an example's answer; few_shot needs one, as in {SHIPPED / 'boxed.yaml'}"
        )
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
