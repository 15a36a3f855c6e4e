"""The embedded benchmarks: how many problems each committed split has, and where they come from."""

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from ..problems import Problem
from . import contest, maths, stories, worked
from .tasks import Task

DRAW: dict[str, Callable[..., Task]] = {"tiny-gsm": stories.draw, "tiny-math": maths.draw, "tiny-aime": contest.draw}

# `wide` is a second draw from the same place as `test` (none of its problems is in it), to show what 30 problems hide.
SPLITS = {
    "tiny-gsm": {"test": 1000, "tune": 400},
    "tiny-math": {"test": 500, "tune": 200},
    "tiny-aime": {"test": 30, "wide": 300},
}


def _cells(benchmark: str) -> list[dict[str, object]]:
    """What is drawn in turn, so that a split has as much of each: on `tiny-math` subject by subject, level by level."""
    if benchmark != "tiny-math":
        return [{}]
    return [{"subject": subject, "level": level} for level in maths.LEVELS for subject in maths.SUBJECTS]


def draw_tasks(benchmark: str, split: str, count: int, seed: int) -> list[Task]:
    """Tasks of a split, by seed, none twice."""
    if split == "wide":
        first = SPLITS[benchmark]["test"]
        return draw_tasks(benchmark, "test", first + count, seed)[first:]
    rng, cells, tasks = random.Random(f"{benchmark}/{split}/{seed}"), _cells(benchmark), {}
    while len(tasks) < count:
        task = DRAW[benchmark](rng, split, **cells[len(tasks) % len(cells)])
        tasks.setdefault(task.identity, task)
    return list(tasks.values())


def draw_problems(benchmark: str, split: str, count: int, seed: int) -> list[Problem]:
    """The same as problems; the worked solution opens with "First"."""
    rng, problems = random.Random(f"{benchmark}/{split}/{seed}/solutions"), []
    for index, task in enumerate(draw_tasks(benchmark, split, count, seed)):
        solution = worked.working(task, rng, "First")
        group = f"{task.subject}, level {task.level}" if task.subject else f"{len(task.steps)} steps"
        problems.append(Problem(f"{split}-{index}", task.question, task.answer, benchmark, solution, group))
    return problems


def write_splits(folder: Path) -> list[Path]:
    """Writes every split's JSON-lines file into `folder/BENCHMARK`; returns their paths."""
    paths = []
    for benchmark, splits in SPLITS.items():
        (folder / benchmark).mkdir(parents=True, exist_ok=True)
        for split, count in splits.items():
            paths.append(folder / benchmark / f"{split}.jsonl")
            rows = [asdict(p) for p in draw_problems(benchmark, split, count, seed=0)]
            paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return paths
