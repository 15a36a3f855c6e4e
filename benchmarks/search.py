"""`seek` against the plain loop that it must equal, and how its cost grows."""

import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pandas as pd
import torch
from common import KV_HEADS, LAYERS, alternate, choose_step_size, parameters, random_policy, random_prompts, seconds

from latentseek_core import Policy, Problem, SeekConfig, SeekResult, seek

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from plain import PlainSearch

PROMPT_TOKENS, RHO, ITERATIONS = 100, 0.2, 10
FLIPPED = 0.1  # share of an opening's tokens that the first step shall flip


class PlainLoop(PlainSearch):
    """The plain loop of the tests, in the model's own precision. The head reads the last position alone, as in the authors' code
    and to this loop's advantage, and the time of each answer is noted."""

    def __init__(self, policy: Policy):
        super().__init__(policy.model, frozenset(), lambda answer: -1.0)
        self.backbone, self.clock = policy.backbone, []

    def forward(self, ids):
        state = self.backbone(torch.tensor([ids]), use_cache=False).last_hidden_state[0, -1]
        return state, self.logits(state)

    def decode(self, prompt, answer, limit):
        taken, decoded = seconds(lambda: super(PlainLoop, self).decode(prompt, answer, limit))
        self.clock.append(taken)
        return decoded

    def search(self, prompt: list[int], config: SeekConfig, iterations: int) -> tuple[float, list[list[int]]]:
        """Seconds of a whole search, from so many iterations, and their answers."""
        self.clock.clear()
        taken, steps = seconds(
            lambda: self(prompt, config.rho, config.learning_rate, iterations, config.reward_threshold, config.max_new_tokens)
        )
        return scaled(self.clock[0], taken, iterations, config), [step.answer_ids for step in steps]

    def all_logits(self, length: int) -> float:
        """How much longer a forward takes with the head on all positions, as the tests' loop has it."""
        ids = random_prompts(1, (length,))[0]
        taken = alternate({"last": lambda: self.forward(ids), "all": lambda: PlainSearch.forward(self, ids)}, 3)
        return taken["all"] / taken["last"]


class NeverEnough:
    """A reward that never passes τ. It notes when it is asked: behind each answer."""

    def __init__(self):
        self.asked = []

    def __call__(self, problems, answers):
        self.asked.append(perf_counter())
        return [-1.0] * len(answers)


def scaled(first: float, total: float, iterations: int, config: SeekConfig) -> float:
    """The seconds of all iterations, from those of some: each costs the same here, the chain of thought comes once."""
    return first + (total - first) * config.max_iterations / iterations


def run_seek(policy: Policy, prompts: list[list[int]], config: SeekConfig, iterations: int = 0) -> tuple[float, list[SeekResult]]:
    """Seconds of a whole search, from so many iterations (all of them if 0), and its results."""
    problems = [Problem(str(i), "no text is read here", "0", "gsm8k") for i in range(len(prompts))]
    iterations, reward, start = iterations or config.max_iterations, NeverEnough(), perf_counter()
    own = replace(config, max_iterations=iterations)
    taken, results = seconds(
        lambda: seek(policy, problems, reward, own, prompt_ids=prompts, batch_size=len(prompts), progress=False)
    )
    return scaled(reward.asked[0] - start, taken, iterations, config), results


def moved(results: list[SeekResult]) -> dict[str, float]:
    """How much the openings changed: the part of them that an iteration flips, where its first change stands, iterations without."""
    steps = [(step.changed, result.latent_length) for result in results for step in result.steps[1:]]
    firsts = [changed[0] for changed, _ in steps if changed]
    return {
        "flipped_share": sum(len(changed) for changed, _ in steps) / sum(n for _, n in steps),
        "first_changed": sum(firsts) / max(1, len(firsts)),
        "unchanged_iterations": sum(not changed for changed, _ in steps) / len(steps),
    }


def settings(policy: Policy, prompts: list[list[int]], tokens: int, **changes) -> SeekConfig:
    config = SeekConfig(rho=RHO, max_iterations=ITERATIONS, max_new_tokens=tokens)
    config = replace(config, **changes)
    return replace(config, learning_rate=choose_step_size(policy, prompts, tokens, config.rho, FLIPPED))


# Of each answer length: the iterations of the plain loop, those of `seek` alone and in batches (0: all); the rest is scaled.
TIMED = {128: (2, 0, 0), 512: (1, 0, 2)}


def against_plain(quick: bool) -> pd.DataFrame:
    """A row for each answer length and batch size: seconds a problem of both, and their ratio."""
    policy = random_policy(256, 2) if quick else random_policy()
    prompts, rows = random_prompts(32, (PROMPT_TOKENS,)), []
    for tokens, (iterations, alone, batched) in ({16: (2, 0, 0), 48: (1, 0, 2)} if quick else TIMED).items():
        config, loop = settings(policy, prompts[:8], tokens), PlainLoop(policy)
        plain, answers = loop.search(prompts[0], config, iterations)
        factor = loop.all_logits(PROMPT_TOKENS + tokens // 2)
        for batch in (1, 4) if quick else (1, 8, 32):
            ours, results = run_seek(policy, prompts[:batch], config, alone if batch == 1 else batched)
            assert [step.answer_ids for step in results[0].steps[: iterations + 1]] == answers, "the two loops must agree"
            row = {"tokens": tokens, "batch": batch, "plain_seconds": plain, "seek_seconds": ours / batch}
            row |= {"ratio": plain * batch / ours, "ratio_all_logits": factor * plain * batch / ours}
            row |= {"plain_iterations": iterations, "seek_iterations": results[0].n_iterations}
            rows.append(row | moved(results) | {"learning_rate": config.learning_rate})
    return pd.DataFrame(rows)


BASE = {"rho": RHO, "K": 4, "T": 64, "batch": 8, "layers": LAYERS}
SWEEPS = {"rho": [0.1, 0.2, 0.4, 0.8], "K": [1, 2, 4, 8], "T": [32, 64, 128], "batch": [1, 8, 32], "layers": [2, 4, 8]}


def growth(quick: bool) -> pd.DataFrame:
    """A row for each value of ρ, K, T, batch and model size, the others at `BASE`: seconds and token forwards a problem, on a
    model 640 wide."""
    rows = []
    for name, values in SWEEPS.items():
        for value in values[:2] if quick else values:
            cell = BASE | ({"T": 16, "K": 1} if quick else {}) | {name: value}
            rows.append({"varied": name, "value": value} | _cost(cell, 256 if quick else 640))
    return pd.DataFrame(rows)


def _cost(cell: dict, width: int) -> dict[str, float]:
    policy = random_policy(width, cell["layers"])
    prompts = random_prompts(cell["batch"], (PROMPT_TOKENS,))
    config = settings(policy, prompts[:8], cell["T"], rho=cell["rho"], max_iterations=cell["K"])
    policy.generate(prompts, max_new_tokens=2)  # the first forward of a process is slow
    policy.forwarded_tokens = 0
    taken, results = run_seek(policy, prompts, config)
    per_problem = {"seconds": taken / cell["batch"], "forwarded_tokens": policy.forwarded_tokens / cell["batch"]}
    return per_problem | {"parameters": parameters(policy)} | moved(results)


def describe(policy: Policy) -> str:
    """The random model in words."""
    config = policy.text_config
    return (
        f"{config.num_hidden_layers} layers, width {config.hidden_size}, {config.num_attention_heads} heads on {KV_HEADS} for keys "
        f"and values, vocabulary {config.vocab_size}, tied head: {parameters(policy) / 1e6:.1f} M parameters, float32"
    )
