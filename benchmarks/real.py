"""What could make a real model faster on a CPU: number format, batch size, `torch.compile`, int8 weights.

Each variant runs in a process of its own with a time limit, and appends a row for each batch size to a CSV file, so that one that
fails or hangs costs nothing but its own rows. The int8 variants `torchao-…` need the package torchao.
"""

import platform
import statistics
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import transformers
import typer
from common import RESULTS, forget_peak, resident_bytes, seconds

from latentseek_core import Policy, embedded_benchmarks, load_benchmark, render_prompt

INT8 = ("torchao-weights", "torchao-dynamic", "torch-dynamic")
VARIANTS = [*("float32", "bfloat16"), *(f"{name}+compile" for name in ("float32", "bfloat16")), *INT8, "torchao-weights+compile"]
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def load(model: Path, variant: str) -> Policy:
    """The model as a variant names it."""
    kind, _, compiled = variant.partition("+")
    options = {}
    if kind.startswith("torchao"):
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        config = Int8WeightOnlyConfig() if kind == "torchao-weights" else Int8DynamicActivationInt8WeightConfig()
        options = {"quantization_config": TorchAoConfig(config), "device_map": "cpu"}
    policy = Policy.from_pretrained(model, dtype="bfloat16" if kind == "bfloat16" else "float32", **options)
    if kind == "torch-dynamic":  # the head stays as it is: the policy needs its weights
        torch.ao.quantization.quantize_dynamic(policy.backbone, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
    if compiled:
        policy.backbone.compile(dynamic=True)
    return policy


def measure(policy: Policy, batch: int, tokens: int, repeats: int) -> dict[str, float]:
    """Tokens per second of answers that never end early, their prompts' forwards included."""
    problems = load_benchmark(embedded_benchmarks()[0], limit=batch)
    prompts = [policy.encode(render_prompt(problem)) for problem in problems]
    forget_peak()

    def decode():
        return policy.generate(prompts, max_new_tokens=tokens, stop_ids=())

    first, _ = seconds(decode)
    taken = statistics.median(seconds(decode)[0] for _ in range(repeats))
    mean_prompt = statistics.mean(map(len, prompts))
    return {
        "tokens_per_second": batch * tokens / taken,
        "first_seconds": first,  # compilation included
        "peak_mb": resident_bytes(peak=True) / 1e6,
        "prompt_tokens": mean_prompt,
    }


@app.command("one", hidden=True)
def one(model: Path, variant: str, batches: str, tokens: int, repeats: int, out: Path) -> None:
    """Measures one variant in this process."""
    warnings.simplefilter("ignore")
    policy = load(model, variant)
    for batch in map(int, batches.split(",")):
        _append(out, model, variant, batch, tokens, **measure(policy, batch, tokens, repeats))


@app.command("all")
def main(
    model: Annotated[Path, typer.Argument(help="Folder of a model (safetensors, config, tokenizer).")],
    variants: Annotated[str, typer.Option(help="Which, separated by commas.")] = ",".join(VARIANTS),
    batches: Annotated[str, typer.Option(help="Batch sizes, separated by commas.")] = "1,8,24",
    tokens: Annotated[int, typer.Option(help="New tokens of each answer.")] = 64,
    repeats: Annotated[int, typer.Option(help="Measurements after a first one that is not counted; their median is taken.")] = 2,
    limit: Annotated[int, typer.Option(help="Seconds for one variant.")] = 900,
    out: Annotated[Path, typer.Option(help="CSV file to append to.")] = RESULTS / "real.csv",
) -> None:
    """Measures variants one after another."""
    for variant in variants.split(","):
        command = [sys.executable, __file__, "one", str(model), variant, batches, str(tokens), str(repeats), str(out)]
        try:
            done = subprocess.run(command, timeout=limit, capture_output=True, text=True, check=False)
            error = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        except subprocess.TimeoutExpired:
            error = f"not done after {limit} s"
        if error:
            _append(out, model, variant, None, tokens, error=error[:300])
        print(f"{variant}: {error or 'done'}", flush=True)
    print(pd.read_csv(out).round(2).to_string(index=False))


COLUMNS = ["tokens_per_second", "first_seconds", "peak_mb", "prompt_tokens", "error"]


def _append(out: Path, model: Path, variant: str, batch: int | None, tokens: int, **found) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    versions = {"threads": torch.get_num_threads(), "torch": torch.__version__, "transformers": transformers.__version__}
    row = {"model": model.name, "variant": variant, "batch": batch, "new_tokens": tokens}
    row |= {name: found.get(name) for name in COLUMNS} | versions | {"machine": platform.machine()}
    pd.DataFrame([row]).to_csv(out, mode="a", header=not out.exists(), index=False)


if __name__ == "__main__":
    app()
