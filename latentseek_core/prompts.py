"""Prompts as data: the solver prompts and the four verifier prompts, each a YAML file that anyone can edit.

A prompt is named by `boxed` or `json` (the paper's prompts 1 and 2), or by the path of a YAML file of the same form. A model's
folder may bring files of its own under `prompts/`; there they take the place of the files shipped here.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from .problems import Problem
from .store import read_settings

SHIPPED = Path(__file__).resolve().parent / "prompts"
FILES = {".yaml", ".yml"}
SYMBOLIC = {"math500", "tiny-math"}


class Message(BaseModel, strict=True):
    role: str
    content: str


def _asks(messages: list[Message]) -> list[Message]:
    if "{question}" not in messages[-1].content:
        raise ValueError("the last one must hold {question}, where the problem goes")
    return messages


class SolverPrompt(BaseModel, strict=True):
    """The form of a prompt that puts problems to the model; what else such a file may hold is in `boxed.yaml`."""

    style: Literal["boxed", "json"]
    messages: Annotated[list[Message], Field(min_length=1), AfterValidator(_asks)]
    shot: str = ""


class Check(BaseModel, strict=True):
    weight: float
    text: str


def _shows(opening: str) -> str:
    if not all(place in opening for place in ("{question}", "{answer}")):
        raise ValueError("it must hold {question} and {answer}")
    return opening


class VerifierPrompt(BaseModel, strict=True):
    """The form of the checks of self-reward."""

    opening: Annotated[str, AfterValidator(_shows)]
    verdict: str
    checks: Annotated[dict[str, Check], Field(min_length=1)]


def load_prompt(name: str | Path, folder: Path | None = None) -> dict[str, Any]:
    """The contents of a prompt file: by path, else from the model's own `folder/prompts/`, else as shipped.

    Raises:
        ValueError: no such prompt (the message lists those there are), or a file that is no YAML of names and values.
    """
    own = [folder / "prompts" / f"{name}.yaml"] if folder else []
    for path in [Path(name), *own, SHIPPED / f"{name}.yaml"]:
        if path.suffix in FILES and path.is_file():
            return read_settings(path)
    if Path(name).suffix in FILES:
        raise ValueError(f"there is no prompt file {Path(name).absolute()}")
    known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.yaml") if "messages" in read_settings(p)))
    raise ValueError(f"unknown prompt {str(name)!r}: use one of {known}, or the path of a .yaml file of that form")


def solver_prompt(name: str | Path, folder: Path | None = None) -> dict[str, Any]:
    """A prompt that puts problems to the model, in the form of `SolverPrompt`.

    Raises:
        ValueError: no such prompt, or a file of another form.
    """
    return _in_form(SolverPrompt, name, folder, "boxed.yaml")


def verifier_prompt(name: str | Path, folder: Path | None = None) -> dict[str, Any]:
    """The checks of self-reward, in the form of `VerifierPrompt`.

    Raises:
        ValueError: no such file, or one of another form.
    """
    return _in_form(VerifierPrompt, name, folder, "verifiers.yaml")


def _in_form(form: type[BaseModel], name: str | Path, folder: Path | None, example: str) -> dict[str, Any]:
    prompt = load_prompt(name, folder)
    try:
        form.model_validate(prompt)
    except ValidationError as error:
        first = error.errors()[0]
        where, said = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise ValueError(f"the prompt {name} can't be used: `{where}`: {said}; an example is {SHIPPED / example}") from error
    return prompt


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
    if shots and "shot" not in prompt:
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
