"""Are two LaTeX expressions equal? math-verify decides, in a process of its own that can be killed.

Algebra on a model's text can take forever, or all memory, or the interpreter with it. So it happens in one worker process
(`symbolic_worker.py`), started at the first question and kept: a question that takes too long, or ends the worker, is answered
False, and the next one finds a new worker.
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

SECONDS = 3.0  # for one comparison
START_SECONDS = 120.0  # for a new worker's imports, on a busy machine
SCRIPT = Path(__file__).with_name("symbolic_worker.py")


class Worker:
    """One process that compares; from any thread, one question at a time."""

    def __init__(self):
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None

    def same(self, answer: str, gold: str) -> bool:
        """Whether the two are equal; False where that can't be said within the time."""
        with self._lock:
            reply = ""
            try:
                if self._process is None or self._process.poll() is not None:
                    self.close()
                    self._start()
                reply = self._ask(json.dumps([answer, gold]), SECONDS)
            except BrokenPipeError:
                pass
            finally:
                if reply not in ("true", "false"):  # too slow, dead, or interrupted: a late reply would go to the next question
                    self.close()
            return reply == "true"

    def close(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()

    def forget(self) -> None:
        """After a fork, in the child: the process is the parent's, and so may be a held lock."""
        process, asking = self._process, self._lock.locked()
        self.__init__()
        if asking:  # a thread that is not here holds the pipes' own locks too: to close them would wait for ever
            self._inherited = process
        elif process is not None:
            process.stdin.close()
            process.stdout.close()

    def _start(self) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        # -P: the script's folder holds modules that would hide others; own session: Ctrl-C is for the parent.
        self._process = subprocess.Popen([sys.executable, "-P", str(SCRIPT)], text=True, start_new_session=True, **pipes)
        if self._ask(None, START_SECONDS) != "ready":
            raise RuntimeError("math-verify can't be started; is it installed? Try: python -c 'import math_verify'")

    def _ask(self, line: str | None, seconds: float) -> str:
        """Send a line and wait for the reply; empty where the process ended or had to be ended."""
        limit = threading.Timer(seconds, self._process.kill)
        limit.daemon = True
        limit.start()
        try:
            if line is not None:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
            return self._process.stdout.readline().strip()
        finally:
            limit.cancel()


WORKER = Worker()
atexit.register(WORKER.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WORKER.forget)
