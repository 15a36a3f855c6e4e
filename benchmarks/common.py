"""What the benchmarks share: random models and prompts, clocks, a fresh process for a measurement, what machine this is."""

import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, Qwen2Config

from latentseek_core import Policy
from latentseek_core.tiny.tokenizer import train_tokenizer

RESULTS = Path(__file__).parent / "results"
VOCABULARY, HEAD_WIDTH, KV_HEADS = 8192, 64, 2
WIDTH, LAYERS = 896, 4  # the width of Qwen2.5-0.5B; 43.6 M parameters


def random_policy(width: int = WIDTH, layers: int = LAYERS, seed: int = 0) -> Policy:
    """A small random model with the shape of Qwen2: tied head, grouped queries.

    Weights are drawn wider than for training: with a tied head and small weights, such a model repeats its last token.
    """
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // HEAD_WIDTH,
        num_key_value_heads=KV_HEADS,
        tie_word_embeddings=True,
        initializer_range=0.1,
        max_position_embeddings=4096,
    )
    return policy_of(config, seed)


def policy_of(config: Qwen2Config, seed: int = 0, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Policy:
    """A random model of this shape whose answers never end by themselves."""
    config.bos_token_id, config.eos_token_id, config.pad_token_id = None, None, 0
    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    policy = Policy(model, train_tokenizer(["no text is read here"] * 3), name="random Qwen2")
    policy.stop_ids = frozenset()
    return policy


def parameters(policy: Policy) -> int:
    return sum(p.numel() for p in policy.model.parameters())


def random_prompts(count: int, lengths: Sequence[int] = (100,), seed: int = 0) -> list[list[int]]:
    """Prompts of random tokens, the lengths taken in turn."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(1, VOCABULARY, (lengths[i % len(lengths)],), generator=generator).tolist() for i in range(count)]


@torch.no_grad()
def choose_step_size(policy: Policy, prompts: list[list[int]], tokens: int, rho: float, share: float) -> float:
    """The smallest η at which Adam's first step flips this share of the openings' tokens: it moves every coordinate by η."""
    n = int(rho * tokens)
    openings = policy.generate(prompts, max_new_tokens=n, keep_latents=n)
    z, x = torch.cat([c.latents for c in openings]), torch.tensor([t for c in openings for t in c.token_ids])
    with torch.enable_grad():
        z.requires_grad_()
        (gradient,) = torch.autograd.grad(policy.head(z).log_softmax(-1).gather(-1, x[:, None]).sum(), z)
    sizes = torch.logspace(-4, 1, 51).tolist()
    flipped = ((policy.head(z - size * gradient.sign()).argmax(-1) != x).float().mean() for size in sizes)
    return next(round(size, 5) for size, part in zip(sizes, flipped, strict=True) if part >= share)


def seconds(call: Callable[[], object]) -> tuple[float, object]:
    """How long a call took, and what it gave."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def alternate(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of several calls, taken in turn so that a machine that slows down slows all of them."""
    for call in calls.values():
        call()
    rounds = [{name: seconds(call)[0] for name, call in calls.items()} for _ in range(repeats)]
    return {name: statistics.median(r[name] for r in rounds) for name in calls}


def in_fresh_process(function: Callable, *args):
    """The result of a function of this folder in a process of its own, so that no earlier work counts in its memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def forget_peak() -> None:
    """Sets this process's peak of resident memory back to what it holds now (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def resident_bytes(peak: bool = False) -> int:
    """Memory of this process that is in RAM, now or at most (Linux: VmRSS and VmHWM of /proc/self/status)."""
    field = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field))


def machine() -> str:
    """Processor, cores, threads and versions, in a sentence."""
    names = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    cpu = next((line.partition(":")[2].strip() for line in names if line.startswith("model name")), platform.machine())
    load = f", load average {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return (
        f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{load}; Python {platform.python_version()}, "
        f"torch {torch.__version__}, transformers {transformers.__version__}"
    )
