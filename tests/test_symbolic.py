"""The worker behind grading: what may happen to it, what it must never do, and 5,000 answers that try (`FUZZED_ANSWERS=5000`)."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentseek_core import symbolic
from latentseek_core.answers import canonical, equal, extract_answer, is_correct

FUZZED = int(os.environ.get("FUZZED_ANSWERS", "300"))
ENDLESS = "100000000!"
CORE = Path(symbolic.__file__).parent
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals")


@pytest.fixture
def worker():
    worker = symbolic.Worker()
    yield worker
    worker.close()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("answer", "gold", "equal"),
    [
        ("(x+1)(x-1)", "x^2-1", True),
        ("(x+1)(x-1)", "x^2+1", False),
        (r"\{1,2\} \cap \{2,3\}", r"\{2\}", True),
        (r"(0,36) \setminus \{9\}", r"(0,9) \cup (9,36)", True),
        ("1.41421356", r"\sqrt{2}", False),
        ("0.5x", r"\frac{x}{2}", True),
        ("(-793,10)", "-793<a<10", True),
        (r"\frac{", "1", False),
        ("\0\ud800", "1", False),
        ("(" * 300, "1", False),
    ],
)
def test_verdicts(answer, gold, equal):
    assert symbolic.WORKER.same(answer, gold) is equal


@pytest.mark.slow
def test_too_slow_is_false_and_the_next_question_finds_a_new_worker(worker, monkeypatch):
    assert worker.same("x+1", "1+x")
    first = worker._process
    monkeypatch.setattr(symbolic, "SECONDS", 0.5)
    assert worker.same(ENDLESS, "5") is False
    assert first.poll() is not None
    monkeypatch.undo()
    assert worker.same("x+1", "1+x")
    assert worker._process is not first


def test_death_midway_is_false_and_the_next_question_works(worker):
    assert worker.same("x", "x")
    victim = worker._process
    threading.Timer(0.3, victim.kill).start()
    assert worker.same(ENDLESS, "5") is False
    assert worker.same("x+1", "1+x")


@pytest.mark.slow
def test_death_between_two_questions_goes_unnoticed(worker):
    assert worker.same("x", "x")
    worker._process.kill()
    worker._process.wait()
    assert worker.same("x+1", "1+x")


@pytest.mark.slow
def test_eight_threads_at_once(worker):
    questions = [(f"(x+{n})(x-{n})", f"x^2-{n * n + n % 2}", n % 2 == 0) for n in range(1, 41)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda q: worker.same(q[0], q[1]), questions))
    assert verdicts == [truth for *_, truth in questions]


@pytest.mark.slow
@posix
def test_an_interrupt_leaves_no_reply_behind(worker):
    def interrupt(*_):
        raise KeyboardInterrupt

    assert worker.same("x", "x")
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            worker.same(ENDLESS, "5")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert worker.same("x+1", "1+x")
    assert not worker.same("x+1", "2+x")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_worker_of_its_own():
    program = f"""
        import os, sys
        sys.path.append({str(CORE)!r})
        from symbolic import WORKER
        assert WORKER.same("x+1", "1+x")
        mine = WORKER._process.pid
        child = os.fork()
        if child == 0:
            fine = WORKER.same("x+1", "1+x") and WORKER._process.pid != mine
            WORKER.close()
            os._exit(0 if fine else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert WORKER.same("x+2", "2+x") and WORKER._process.pid == mine
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=120).returncode == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("question", ["x", pytest.param(ENDLESS, marks=pytest.mark.slow)])
def test_no_worker_outlives_a_killed_parent(question):
    program = f"""
        import os, signal, sys, threading, time
        sys.path.append({str(CORE)!r})
        from symbolic import WORKER
        WORKER.same("x+1", "1+x")
        print(WORKER._process.pid, flush=True)
        threading.Thread(target=WORKER.same, args=({question!r}, "5"), daemon=True).start()
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    parent = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120)
    assert parent.returncode == -signal.SIGKILL
    pid, patience = int(parent.stdout), time.monotonic() + 30
    while alive(pid) and time.monotonic() < patience:
        time.sleep(0.1)
    assert not alive(pid)


def test_the_worker_can_do_nothing_but_algebra(tmp_path):
    """Each attempt is made inside the worker's own process, after it has closed the doors."""
    attempts = {
        "write": f"open({str(tmp_path / 'canary')!r}, 'w')",
        "append": f"open({str(tmp_path / 'canary')!r}, 'ab')",
        "make": f"os.mkdir({str(tmp_path / 'canary')!r})",
        "shell": "os.system('true')",
        "process": "__import__('subprocess').run(['true'])",
        "network": "__import__('socket').socket()",
        "C": "__import__('ctypes').CDLL(None)",
        "evaluate": "eval('1+1')",
        "sympy": "__import__('sympy').sympify('__import__(\"os\")')",
        "parser": "__import__('sympy').parsing.parse_expr('1+1')",
    }
    program = f"""
        import io, os, sys
        sys.path.insert(1, {str(CORE)!r})
        sys.stdin = io.StringIO("")
        import symbolic_worker, ctypes, socket, subprocess, sympy
        tries = {{name: compile(source, "a test", "eval") for name, source in {attempts!r}.items()}}
        out = os.fdopen(os.dup(1), "w")
        symbolic_worker.main()
        for name, code in tries.items():
            try:
                eval(code)
            except (PermissionError, sympy.SympifyError):
                continue
            print(name, file=out)
        print("done", file=out)
    """
    done = subprocess.run([sys.executable, "-P", "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["ready", "done"], done.stderr
    assert not list(tmp_path.iterdir())


def test_the_worker_imports_neither_the_kit_nor_torch():
    program = f"import sys; sys.path.append({str(CORE)!r}); import symbolic_worker; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=120).stdout
    assert "'math_verify'" in loaded
    assert "'latentseek_core'" not in loaded
    assert "'torch'" not in loaded


LATEX = r"\frac \sqrt ^ _ { } ( ) [ ] \{ \} + - * / = < , . ! : % $ & \\ \pm \cup \in \infty \pi \circ \text{".split()
LATEX += "0 1 2 9 10 x y e i".split()
NESTS = [
    ("{", "}"),
    ("(", ")"),
    (r"\sqrt{", "}"),
    (r"\frac{1}{", "}"),
    (r"\left(", r"\right)"),
    ("[", ")"),
    ("-", ""),
    (r"\text{", "}"),
]
CODE = [
    "__import__('os').system('touch {}')",
    "open('{}', 'w')",
    "exec(\"open('{}','w')\")",
    "().__class__.__base__.__subclasses__()[0]('{}')",
    r"\write18{{touch {}}}",
    r"\input{{|touch {}}}",
    "eval(compile('open(\"{}\",\"w\")','','eval'))",
    "lambda: open('{}', 'w')",
    "$(touch {})",
    "Symbol('x').__init__.__globals__['sys'].modules['os'].system('touch {}')",
]


def fuzzed_answers(canary: Path) -> st.SearchStrategy[str]:
    """Random text and LaTeX, deep nesting, towers of powers, huge numbers, code, foreign digits, null bytes, surrogates."""
    numbers = st.one_of(
        st.integers(-(10**400), 10**400).map(str),
        st.tuples(st.integers(0, 99), st.integers(-(10**12), 10**12)).map(lambda n: f"{n[0]}e{n[1]}"),
        st.tuples(st.integers(0, 99), st.integers(-(10**9), 10**9)).map(lambda n: rf"{n[0]} \times 10^{{{n[1]}}}"),
        st.floats().map(str),
    )
    towers = st.lists(st.integers(2, 99), min_size=2, max_size=8).map(lambda n: "^{".join(map(str, n)) + "}" * (len(n) - 1))
    nests = st.tuples(st.sampled_from(NESTS), st.integers(1, 3000), numbers | st.just("")).map(
        lambda n: n[0][0] * n[1] + n[2] + n[0][1] * n[1]
    )
    code = st.sampled_from(CODE).map(lambda line: line.format(canary))
    digits = st.text(st.characters(categories=["Nd", "No", "Nl"]), max_size=20)
    wild = st.text(st.characters(exclude_categories=[]), max_size=60) | st.text("\0 \ud800\udfff\n\t\x0c1x", max_size=20)
    latex = st.lists(st.sampled_from(LATEX), max_size=40).map(" ".join)
    heavy = st.sampled_from(
        [ENDLESS, "9!!!!", r"\binom{10^9}{10^8}", r"\sum_{k=1}^{10^9} k^{k}", "x^{9999}(x+1)^{9999}", r"\int e^{x^x} dx"]
    )
    parts = st.one_of(numbers, towers, nests, code, digits, wild, latex, heavy)
    return st.one_of(parts, st.lists(parts, min_size=2, max_size=4).map(" ".join))


WRAPPED = [
    r"\boxed{%s}",
    '{"final answer": "%s"}',
    '{"final answer": %s}',
    "The answer is %s.",
    "%s",
    r"\boxed{\text{%s}}",
    r"\boxed{x = %s}",
]


@pytest.mark.slow
def test_fuzzed_answers_neither_crash_nor_hang_nor_run(tmp_path):
    canary, slowest = tmp_path / "canary", 0.0

    @settings(max_examples=FUZZED, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(
        fuzzed_answers(canary), st.sampled_from(WRAPPED), st.sampled_from(["5", r"\sqrt{2}", "(1,2]", "x^2+1", r"\text{east}"])
    )
    def grade(answer, wrapped, gold):
        nonlocal slowest
        text, begun = wrapped.replace("%s", answer), time.monotonic()
        for style in ("boxed", "json"):
            asked = {"style": style, "benchmark": "math500", "strict": False}
            stated = extract_answer(text, **asked)
            assert stated is None or isinstance(canonical(stated, "math500"), str)
            assert is_correct(text, gold, **asked) in (True, False)
        assert equal(answer, gold, "math500") in (True, False)
        slowest = max(slowest, time.monotonic() - begun)

    grade()
    process = symbolic.WORKER._process
    symbolic.WORKER.close()
    assert process is None or process.poll() is not None
    assert not list(tmp_path.iterdir())
    assert slowest < 60  # a hang; each comparison has its own limit of a few seconds


def test_code_reaches_the_worker_and_does_nothing(worker, tmp_path):
    canary = tmp_path / "canary"
    lines = [line.format(canary) for line in CODE]
    assert not any(worker.same(line, "5") or worker.same(rf"\text{{{line}}}", "5") for line in lines)
    assert not canary.exists()
