"""Where a search's time goes, and what padding costs: on the embedded model and its benchmark, with self-reward."""

import importlib
from collections import Counter
from collections.abc import Callable
from time import perf_counter
from unittest.mock import patch

import pandas as pd
from common import random_policy, random_prompts, seconds
from search import run_seek, settings

from latentseek_core import Policy, Problem, SeekConfig, SelfReward, load_benchmark, seek

search_module = importlib.import_module("latentseek_core.seek")  # the package's own `seek` is the function


def embedded(limit: int) -> tuple[Policy, list[Problem]]:
    """The model and the first problems."""
    return Policy.from_pretrained("tiny-qwen2-1.8m"), load_benchmark("tiny-gsm", limit=limit)


class Stopwatch:
    """Seconds by label; what runs within a timed call counts for that call alone."""

    def __init__(self):
        self.spent, self.running = Counter(), False

    def time(self, label: str, function: Callable) -> Callable:
        def timed(*args, **kwargs):
            if self.running:
                return function(*args, **kwargs)
            self.running, start = True, perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.running = False
                self.spent[label] += perf_counter() - start

        return timed


def _shares(policy: Policy, search: Callable[[Stopwatch], object]) -> dict[str, float]:
    """The parts of a search's time. Verifying includes the decoding of verdicts; the rest is bookkeeping and texts."""
    watch = Stopwatch()
    update = watch.time("head_gradient", search_module._Search.update)
    with (
        patch.object(search_module._Search, "update", update),
        patch.object(policy, "generate", watch.time("decoding", policy.generate)),
    ):
        total, _ = seconds(lambda: search(watch))
    parts = {label: watch.spent[label] / total for label in ("head_gradient", "decoding", "verifying")}
    return {"seconds": total, **parts, "rest": 1 - sum(parts.values())}


def time_shares(quick: bool) -> pd.DataFrame:
    """A row for the embedded model at two batch sizes, and one for the random model without verifiers."""
    config = SeekConfig(max_new_tokens=48 if quick else 256, max_iterations=2 if quick else 10)
    rows = []
    for batch, count in ((1, 1), (8, 8)) if quick else ((1, 8), (64, 64)):
        policy, problems = embedded(count)

        def search(watch, policy=policy, problems=problems, batch=batch):
            reward = watch.time("verifying", SelfReward(policy))
            return seek(policy, problems, reward, config, batch_size=batch, progress=False)

        rows.append({"model": policy.name, "batch": batch, "problems": count} | _shares(policy, search))
    policy = random_policy(256, 2) if quick else random_policy()
    prompts = random_prompts(8)
    own = settings(policy, prompts, 16 if quick else 64, max_iterations=4)
    row = {"model": "random, no verifier", "batch": 8, "problems": 8}
    return pd.DataFrame([*rows, row | _shares(policy, lambda watch: run_seek(policy, prompts, own))])


def in_slices(policy: Policy, size: int, by_length: bool) -> Callable:
    """`policy.generate` on so many prompts at once, taken by length or as they come."""
    generate = policy.generate

    def sliced(prompts, **options):
        lengths = [len(p) + len(f) for p, f in zip(prompts, options.get("forced") or [[]] * len(prompts), strict=True)]
        order = sorted(range(len(prompts)), key=lengths.__getitem__) if by_length else range(len(prompts))
        found = {}
        for part in (order[start : start + size] for start in range(0, len(prompts), size)):
            mine = {name: [value[i] for i in part] if isinstance(value, list) else value for name, value in options.items()}
            found |= dict(zip(part, generate([prompts[i] for i in part], **mine), strict=True))
        return [found[i] for i in range(len(prompts))]

    return sliced


def padding(quick: bool) -> pd.DataFrame:
    """A row for each size and order of slices: padding beside real tokens in the forwards of a search with self-reward."""
    policy, problems = embedded(16 if quick else 128)
    config = SeekConfig(max_new_tokens=48 if quick else 256, max_iterations=1)
    rows = []
    for size in (8,) if quick else (16, 64):
        for by_length in (True, False):
            policy.forwarded_tokens = policy.padded_tokens = 0
            with patch.object(policy, "generate", in_slices(policy, size, by_length)):
                taken, _ = seconds(
                    lambda: seek(policy, problems, SelfReward(policy), config, batch_size=len(problems), progress=False)
                )
            row = {"slice": size, "order": "by length" if by_length else "as they come", "seconds": taken}
            row |= {"forwarded_tokens": policy.forwarded_tokens, "padded_tokens": policy.padded_tokens}
            rows.append(row | {"padded_share": policy.padded_tokens / policy.forwarded_tokens})
    return pd.DataFrame(rows)
