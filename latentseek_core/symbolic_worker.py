"""The process behind `symbolic.py`: math-verify, alone, with nothing else within reach. It is run as a script.

A line in is a JSON pair [answer, gold] of LaTeX; a line out is `true` or `false`. Each comparison runs under an alarm whose
default action ends the process, even inside C code and even when the parent is gone. After the imports, sympy no longer
evaluates text, and an audit hook refuses whatever algebra has no need of.
"""

import contextlib
import json
import os
import signal
import sys

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Rational, Set, SympifyError
from sympy.core.sympify import converter

MEMORY = 2 << 30
COMPARING, WAITING = 5, 900  # seconds: longer than the parent waits for a comparison; how long an idle worker lives
FORBIDDEN = ("os.", "subprocess.", "socket.", "ctypes.", "shutil.", "pty.", "urllib.", "http.", "tempfile.", "webbrowser.")
FOLDERS = ("os.listdir", "os.scandir", "os.walk")  # importing looks into them
# LaTeX alone: math-verify's other extraction hands plain text to sympy's parser, which evaluates it as Python.
LATEX = [LatexExtractionConfig(boxed_match_priority=0)]
WARM_UP = [(r"\int_0^1 x dx", "1"), ("(1,2)", "1<x<2"), ("x=2y", "2x=4y"), (r"\{1\}\cup(1,2)", "[1,2)")]


def main() -> None:
    """Answer until the input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the parser prints warnings; they must not look like replies
    for pair in WARM_UP:  # what sympy imports only when it is needed is imported now
        same(*pair)
    converter[str] = exact
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.addaudithook(refuse)
    print("ready", file=replies, flush=True)
    for line in sys.stdin:
        set_alarm(COMPARING)
        verdict = same(*json.loads(line))
        set_alarm(WAITING)
        print(json.dumps(verdict), file=replies, flush=True)


def same(answer: str, gold: str) -> bool:
    """Whether the two are equal; False where math-verify can't read one of them."""
    try:
        return bool(verify(parsed(gold), parsed(answer), timeout_seconds=None))
    except Exception:
        return False


def parsed(latex: str) -> list:
    """What math-verify reads, with set operations carried out, which it leaves undone."""
    found = parse(f"\\boxed{{{latex}}}", LATEX, fallback_mode="no_fallback", parsing_timeout=None)
    return [e.doit() if isinstance(e, Set) else e for e in found]


def exact(text: str) -> Rational:
    """A number from its digits; sympy's own way is to evaluate the text."""
    try:
        return Rational(text)
    except (TypeError, ValueError) as bad:
        raise SympifyError(text) from bad


def set_alarm(seconds: int) -> None:
    """End this process in so many seconds, where the platform can."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


def refuse(event: str, args: tuple) -> None:
    """An audit hook: no writing, no processes, no network, no evaluating of text (functions sympy writes itself may pass)."""
    writes = event == "open" and (args[1] or "r").strip("bt") != "r"
    evaluates = event == "compile" and args[1] == "<string>" and not str(args[0]).startswith(("b'def ", 'b"def '))
    if writes or evaluates or (event.startswith(FORBIDDEN) and event not in FOLDERS):
        raise PermissionError(f"not allowed here: {event}")


if __name__ == "__main__":
    main()
