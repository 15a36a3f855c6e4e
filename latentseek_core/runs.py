"""Runs: one folder that says what was done and holds one JSON line a problem, appended as soon as it is known.

A run that was killed goes on where it stopped and ends as an unbroken one does, line for line (their `seconds` aside): problems are
answered in the same batches, a batch that was broken off is answered again as a whole, and what it had written already stays.
"""

import glob
import re
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from .answers import extract_answer, is_correct
from .attempts import Options, Outcome, prompt_ids
from .configs import RunConfig, make_reward
from .methods import METHODS
from .origin import session
from .policy import Policy
from .problems import Problem, load_benchmark
from .prompts import prompt_style, solver_prompt, verifier_prompt
from .store import (
    RESULTS,
    Row,
    Writer,
    pack_folder,
    packed,
    read_config,
    read_origin,
    read_rows,
    replace_packed_rows,
    root_of,
    writing,
)
from .variants import Shuffled

# What may differ between the sessions of one run.
FREE = {"limit", "device"}
Loaded = Policy | Callable[[], Policy] | None


def run(config: RunConfig, policy: Loaded = None) -> Path:
    """Does what a configuration says and returns the run's folder, `config.out`.

    Ctrl-C ends it after the current batch, a second one at once; either way the same call goes on where it stopped.

    Args:
        policy: the model, where it is loaded already, or a function that loads it if it is needed.

    Raises:
        ValueError: an unknown model, benchmark or prompt, a bad setting, or a folder that holds a run with other settings.
        KeyboardInterrupt: it was stopped.
        RuntimeError: its results can't be written.
    """
    solver_prompt(config.prompt)  # a wrong one is better said before a model is loaded
    verifier_prompt(config.verifiers)
    batches = _batches(_problems(config), config)
    if (before := root_of(config.out)) is not None:
        if read_rows(before):  # before the first result, settings may still be corrected
            _same_settings(config, read_config(before))
        if before != config.out:
            return _already_packed(config, before, batches)
    elif (config.out / RESULTS).exists():
        raise ValueError(f"{config.out} holds results but no config.yaml that says of what; choose another folder")
    with _said(config.out), writing(config.out) as writer:
        writer.write_config(config.to_yaml())
        finished = {row["problem_id"] for row in writer.rows}
        left = [batch for batch in batches if not finished.issuperset(problem.id for problem in batch)]
        if left:
            _answer(config, writer, left, sum(map(len, batches)), policy)
    return config.out


def named_model(config: RunConfig) -> tuple:
    """What decides which model is loaded."""
    return config.model, config.device, config.dtype, config.revision, config.gguf_file


def load_policy(model: str, device: str, dtype: str, revision: str | None, gguf_file: str | None) -> Policy:
    return Policy.from_pretrained(model, device=device, dtype=dtype, revision=revision, gguf_file=gguf_file)


def _problems(config: RunConfig) -> list[Problem]:
    last = None if config.limit is None else config.start + config.limit
    problems = load_benchmark(config.benchmark, split=config.split, limit=last)[config.start :]
    if config.ids is not None:
        known = {problem.id: problem for problem in problems}
        if unknown := [name for name in config.ids if name not in known]:
            raise ValueError(f"{config.benchmark} has no problem {unknown[0]!r} among the {len(known)} asked for")
        problems = [known[name] for name in config.ids]
    if not problems:
        raise ValueError(f"{config.benchmark} has no problem behind the first {config.start}; begin earlier (start)")
    return problems


def _batches(problems: Sequence[Problem], config: RunConfig) -> list[list[Problem]]:
    """Problems in the batches that they are answered in; a shard `i/n` takes every n-th of them."""
    size, (part, _, parts) = config.batch_size, config.shard.partition("/")
    batches = [list(problems[start : start + size]) for start in range(0, len(problems), size)]
    return batches[int(part) - 1 :: int(parts)] if config.shard else batches


def _same_settings(config: RunConfig, before: dict[str, Any]) -> None:
    # A pool of tokens is shared by the problems of a batch, and so are the rewards of `shuffled`.
    shared = config.budget_from or issubclass(config.seek_config().parts, Shuffled)
    free, before = FREE if shared else FREE | {"batch_size"}, _defaults() | before
    for name, value in config.settings().items():
        if value != before[name] and name not in free:
            raise ValueError(
                f"{config.out} holds a run with another {name} ({before[name]!r}, not {value!r}); "
                "choose another folder, or remove that one"
            )


def _already_packed(config: RunConfig, root: Any, batches: list[list[Problem]]) -> Path:
    finished = {row["problem_id"] for row in read_rows(root)}
    if missing := [problem.id for batch in batches for problem in batch if problem.id not in finished]:
        raise ValueError(f"{packed(config.out)} is packed without problem {missing[0]}; unpack it into {config.out} to go on")
    return config.out


def _answer(config: RunConfig, writer: Writer, batches: list[list[Problem]], total: int, policy: Loaded) -> None:
    """Answers whole batches, and writes what was not yet there."""
    pools = [_token_pool(config, batch) for batch in batches]
    if not isinstance(policy, Policy):
        policy = policy() if policy else load_policy(*named_model(config))
    reward, options, search = make_reward(policy, config), _options(config, batches), config.seek_config()
    _check_lengths(policy, batches, options)
    with (
        session(config, policy, writer, total) as check_prompt,
        _stop_request() as stop,
        _Progress(config.out.name, total, writer.rows) as bar,
    ):
        for batch, pool in zip(batches, pools, strict=True):
            check_prompt()
            method = METHODS[config.method](policy, batch, reward, search, replace(options, token_pool=pool))
            for rows in _rows(policy, batch, method, prompt_style(config.prompt, policy.folder)):
                bar.add(writer.append(rows))
            if stop.is_set() and len(writer.rows) < total:
                raise KeyboardInterrupt(f"{config.out}: stopped with {len(writer.rows)} of {total} problems done")


def _rows(policy: Policy, batch: list[Problem], method: Iterator[list[Outcome]], style: str) -> Iterator[list[Row]]:
    """The lines of a batch, as they become known."""
    problems = {problem.id: problem for problem in batch}
    policy.forwarded_tokens, started = 0, time.perf_counter()
    for outcomes in filter(None, method):
        # What can't be told apart by problem is shared out evenly among those that became known together.
        spent = {"forwarded_tokens": policy.forwarded_tokens, "seconds": time.perf_counter() - started}
        share = {name: round(value / len(outcomes), 3) for name, value in spent.items()}
        yield [_row(problems[outcome.problem_id], outcome, style) | share for outcome in outcomes]
        policy.forwarded_tokens, started = 0, time.perf_counter()


def _row(problem: Problem, outcome: Outcome, style: str) -> Row:
    row = {"problem_id": problem.id, "benchmark": problem.benchmark, "style": style, "gold": problem.answer}
    row |= {"answer": None, "correct": False, "correct_loose": False, "n_iterations": outcome.n_iterations}
    row |= {kind: getattr(outcome, kind) for kind in ("prompt_tokens", "answer_tokens", "verifier_tokens")}
    return _graded(row | {"answer_text": outcome.answer_text, "steps": outcome.steps})


def _graded(row: Row) -> Row:
    """A row with its answer and those of its steps graded, by the format asked for and leniently."""
    how = {"style": row["style"], "benchmark": row["benchmark"]}

    def grades(text: str) -> dict[str, bool]:
        return {
            "correct": is_correct(text, row["gold"], **how),
            "correct_loose": is_correct(text, row["gold"], **how, strict=False),
        }

    answer = extract_answer(row["answer_text"], **how, strict=False)
    steps = [step | grades(step["answer_text"]) for step in row["steps"]]
    return row | {"answer": answer} | grades(row["answer_text"]) | {"steps": steps}


def _options(config: RunConfig, batches: list[list[Problem]]) -> Options:
    shots: tuple[Problem, ...] = ()
    if config.method == "few_shot":
        try:
            shots = tuple(load_benchmark(config.shots_from or config.benchmark, split="train", limit=config.shots))
        except ValueError as error:
            raise ValueError(f"no worked examples: {error}; name a benchmark with a train split by shots_from") from error
        asked = {problem.question for batch in batches for problem in batch}
        if known := [shot.id for shot in shots if shot.question in asked]:
            raise ValueError(f"example {known[0]} is one of the problems to solve; take examples from elsewhere (shots_from)")
    names = set(Options.__dataclass_fields__) & set(RunConfig.model_fields) - {"shots"}  # there a number, here the examples
    return Options(**{name: getattr(config, name) for name in names}, shots=shots)


def _check_lengths(policy: Policy, batches: list[list[Problem]], options: Options) -> None:
    """Refuses prompts that don't fit before the first is answered."""
    for problem in (problem for batch in batches for problem in batch):
        try:
            policy.room(prompt_ids(policy, problem, options))
        except ValueError as error:
            raise ValueError(f"the prompt of problem {problem.id} can't be used: {error}") from error


def _token_pool(config: RunConfig, batch: list[Problem]) -> int | None:
    """The answer tokens that another run spent on the same problems."""
    if config.budget_from is None:
        return None
    if (root := root_of(config.budget_from)) is None:
        raise ValueError(f"there is no run {config.budget_from} to take the token budget from; make it first")
    spent = {row["problem_id"]: row["answer_tokens"] for row in read_rows(root)}
    if missing := [problem.id for problem in batch if problem.id not in spent]:
        raise ValueError(f"{config.budget_from} has no result for problem {missing[0]}; finish that run first")
    return sum(spent[problem.id] for problem in batch)


@contextmanager
def _said(folder: Path) -> Iterator[None]:
    """A disk's complaint in a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RuntimeError(
            f"{folder} can't be written ({reason}); finished problems are kept, the same call goes on from there"
        ) from error


@contextmanager
def _stop_request() -> Iterator[threading.Event]:
    """Ctrl-C asks for a stop after the current batch; the second one is an ordinary interrupt. Signals reach the main thread only."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(*_) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tqdm.write("stopping after this batch; Ctrl-C again stops at once")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


class _Progress(tqdm):
    """A bar over problems, with the accuracy and the tokens a problem so far."""

    def __init__(self, name: str, total: int, rows: Sequence[Row]):
        self.seen = list(rows)
        super().__init__(total=total, initial=len(rows), desc=name, unit="problem")

    def add(self, rows: Sequence[Row]) -> None:
        self.seen += rows
        self.update(len(rows))
        tokens = sum(row["answer_tokens"] + row["verifier_tokens"] for row in self.seen) / max(1, len(self.seen))
        correct = sum(row["correct"] for row in self.seen) / max(1, len(self.seen))
        self.set_postfix_str(f"{correct:.1%} correct, {tokens:.0f} tokens each")


def load_runs(pattern: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """All results of the run folders and packed runs that match a glob pattern, or several: a row a problem, with the run's settings
    beside it. The shards of a run are joined; runs of one name in several folders get their folder's name before it.

    Raises:
        ValueError: nothing matches, or a run is damaged.
    """
    frames, paths = [], _paths(pattern)
    names = Counter(_run_name(path) for path in paths)
    for path in paths:
        settings = _defaults() | read_config(root_of(path))
        settings["model"] = _model_name(settings["model"])
        name = _run_name(path) if names[_run_name(path)] == 1 else f"{path.parent.name}/{_run_name(path)}"
        name = re.sub(r"\.\d+-of-\d+$", "", name) if settings["shard"] else name
        frames.append(pd.DataFrame([{"run": name, **settings, **row} for row in read_rows(root_of(path))]))
    return pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)


def is_finished(path: Path) -> bool:
    """Whether a run has all its problems; of one that is still going on, those already done are the easy ones."""
    root = root_of(path)
    return root is not None and 0 < read_origin(root).get("problems", 0) == len(read_rows(root))


def origins(pattern: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Where runs come from, a row each: run, n, the day of its first session, and of its last one the kit's commit, device, precision
    and version of torch; and the first digits of the weights' SHA-256."""
    rows = []
    for path in _paths(pattern):
        origin = read_origin(root_of(path))
        first, last = origin["sessions"][0], origin["sessions"][-1]
        weights = [digest[:12] for name, digest in origin["inputs"].items() if name.endswith((".safetensors", ".bin", ".gguf"))]
        row = {
            "run": _run_name(path),
            "n": origin["problems"],
            "date": first["start"][:10],
            "commit": (last["commit"] or "")[:10],
        }
        row |= {name: last[name] for name in ("device", "dtype")} | {"torch": last["versions"]["torch"]}
        rows.append(row | {"weights": " ".join(weights)})
    return pd.DataFrame(rows)


def _paths(pattern: str | Path | Sequence[str | Path]) -> list[Path]:
    patterns = [pattern] if isinstance(pattern, str | Path) else pattern
    return sorted({path for each in patterns for path in matching_runs(each)})


def matching_runs(pattern: str | Path) -> list[Path]:
    """The runs that a pattern names; the name of a folder also stands for its packed run."""
    found = [Path(path) for path in glob.glob(str(pattern)) or glob.glob(str(packed(Path(pattern))))]
    if runs := [path for path in found if path.exists() and (path.is_dir() or path.suffix == ".zip") and root_of(path)]:
        return runs
    raise ValueError(
        f"no run matches {str(pattern)!r}; a run is a folder with config.yaml and results.jsonl, or one packed; all in FOLDER: 'FOLDER/*'"
    )


def _run_name(path: Path) -> str:
    return path.name.removesuffix(".zip")


def _defaults() -> dict[str, Any]:
    return {name: field.default for name, field in RunConfig.model_fields.items() if name != "out"}


def _model_name(model: str) -> str:
    """A folder's name, or the hub id as it is."""
    return Path(model).name if model.startswith(("/", ".", "~")) or Path(model).is_dir() else model


def regrade(path: Path) -> tuple[int, int]:
    """Grades the stored texts of a run again, in place; returns how many final answers changed, and of how many.

    Raises:
        ValueError: no such run, or a damaged one.
    """
    (path,) = matching_runs(path)
    if path.suffix == ".zip":
        rows = read_rows(root_of(path))
        replace_packed_rows(path, graded := [_graded(row) for row in rows])
    else:
        with _said(path), writing(path) as writer:
            rows = writer.rows
            writer.replace_rows(graded := [_graded(row) for row in rows])
    marks = ("answer", "correct", "correct_loose")
    return sum(any(a[m] != b[m] for m in marks) for a, b in zip(rows, graded, strict=True)), len(rows)


def pack(path: Path) -> Path:
    """Turns a finished run's folder into one compressed file beside it, which `load_runs` reads as well.

    Raises:
        ValueError: no such run, or an unfinished one.
    """
    (path,) = matching_runs(path)
    if path.suffix == ".zip":
        return path
    with _said(path), writing(path) as writer:
        if not is_finished(path):
            total = read_origin(path).get("problems", 0)
            raise ValueError(f"{path} has {len(writer.rows)} of {total} problems; finish it before it is packed")
        archive = pack_folder(path)
        if read_rows(root_of(archive)) != writer.rows:
            raise RuntimeError(f"{archive} does not read back as {path}; the folder stays")
    shutil.rmtree(path)
    return archive
