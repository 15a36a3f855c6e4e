"""Code of the reader's own, named by FILE.py:NAME where the kit's own is named: a reward is a function, a variant a class.

A file is run anew each time that it is loaded, so that a change to it counts in a notebook too. Its SHA-256 is written down with every
run that uses it; what it imports from other files of the reader's would not be, and isn't found.
"""

import inspect
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from .rewards import Reward
from .variants import Plain

MODULE = "own_"  # how the names of loaded files begin, by which own code is told in a traceback
REWARD = "a function (problems, answers) that returns a number for each answer"
VARIANT = "a subclass of latentseek_core.variants.Plain"


def joined(name: str) -> list[str]:
    """The rewards or variants that a name joins by +; a path may have a + of its own."""
    file, _, what = name.rpartition(":")
    return [name] if Path(file).is_file() and "+" not in what else name.split("+")


def own_file(part: str) -> Path | None:
    """The FILE.py of FILE.py:NAME; None for a name that is none of a reader's own.

    Raises:
        ValueError: no NAME, or no such file.
    """
    file, _, name = part.rpartition(":")
    if not (file or name).endswith(".py"):
        return None
    if not (file and name):
        raise ValueError(f"{part} is a whole file; say what in it is meant: FILE.py:NAME")
    if not Path(file).is_file():
        raise ValueError(f"there is no file {Path(file).absolute()}; write FILE.py:NAME")
    return Path(file)


def from_here(name: str) -> str:
    """A name with the paths in it made absolute; what is no file stays as it is."""
    files = [(part, *part.rpartition(":")) for part in joined(name)]
    return "+".join(f"{Path(file).resolve()}:{what}" if Path(file).is_file() else part for part, file, _, what in files)


def own_reward(part: str) -> Reward:
    """The function that FILE.py:FUNCTION names.

    Raises:
        ValueError: no such file or function, one of other arguments, or a file that fails on import.
    """
    reward = _load(part, "function", REWARD)
    with suppress(TypeError, ValueError):
        if not inspect.isclass(reward) and inspect.signature(reward).bind([], []):
            return reward
    raise ValueError(f"{part} is no reward; a reward is {REWARD}")


def own_variant(part: str) -> type[Plain]:
    """The class that FILE.py:CLASS names.

    Raises:
        ValueError: no such file or class, one that is no subclass of `Plain`, or a file that fails on import.
    """
    variant = _load(part, "class", VARIANT)
    if not (inspect.isclass(variant) and issubclass(variant, Plain)):
        raise ValueError(f"{part} is no variant; a variant is {VARIANT}")
    return variant


def _load(part: str, kind: str, form: str) -> Any:
    file, name = own_file(part), part.rpartition(":")[2]
    module = ModuleType(f"{MODULE}{file.stem}")
    module.__file__ = str(file)
    try:  # from the text itself: an import would take a compiled copy where a change left size and second as they were
        exec(compile(file.read_bytes(), file, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        raise ValueError(f"{file} fails on import: {type(error).__name__}: {error}{_place(error)}") from error
    if not hasattr(module, name):
        raise ValueError(f"{file} has no {kind} {name!r}; name {form}")
    return getattr(module, name)


def blame(error: BaseException) -> str:
    """For an error that comes out of a reader's own code, what and where, in a sentence; for others nothing."""
    place = _place(error)
    return f"your own code fails: {type(error).__name__}: {error}{place}" if place else ""


def _place(error: BaseException) -> str:
    """The innermost line of own code that an error came through, in brackets."""
    passed = [(frame.f_globals.get("__name__", ""), frame, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [f" ({Path(frame.f_code.co_filename).name}, line {line})" for name, frame, line in passed if name.startswith(MODULE)]
    return own[-1] if own else ""
