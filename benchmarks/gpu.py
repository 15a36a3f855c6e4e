"""Decoding on a GPU as a share of what the card's memory allows: a 1.5 B Qwen2.5 shape with random weights, in bfloat16.

Each step of decoding reads all weights once and the keys and values of all rows; at a small batch nothing else takes as long. The
share is those bytes, by the seconds of a step, by the card's bandwidth.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from common import RESULTS, alternate, policy_of, random_prompts
from transformers import Qwen2Config

from latentseek_core import Policy

# GB/s, from the makers' data sheets; the first name that the card's own contains counts.
BANDWIDTH = {
    "H200": 4800,
    "H100 NVL": 3900,
    "H100 PCIe": 2000,
    "H100": 3350,
    "A100-SXM4-80GB": 2039,
    "A100 80GB": 1935,
    "A100": 1555,
    "L40S": 864,
    "L4": 300,
    "A10": 600,
    "V100": 900,
    "T4": 320,
    "RTX 4090": 1008,
    "RTX 3090": 936,
}
QWEN_15B = {
    "vocab_size": 151936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
TINY = QWEN_15B | {
    "vocab_size": 8192,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
PROMPT = 100


def decoders(policy: Policy, batch: int) -> dict[str, Callable[[int], object]]:
    """Ways to decode so many tokens after the same prompts. transformers compiles by itself what has a static cache, on a GPU."""
    prompts = random_prompts(batch, (PROMPT,))
    ids = torch.tensor(prompts, device=policy.device)
    static = {"do_sample": False, "pad_token_id": 0, "cache_implementation": "static", "attention_mask": torch.ones_like(ids)}
    return {
        "policy.generate": lambda n: policy.generate(prompts, max_new_tokens=n),
        "transformers, static cache": lambda n: policy.model.generate(
            ids, max_new_tokens=n, disable_compile=True, **static
        ).cpu(),
        "transformers, static cache, compiled": lambda n: policy.model.generate(ids, max_new_tokens=n, **static).cpu(),
    }


def step_bytes(policy: Policy, batch: int, length: float) -> float:
    """What a step must read: the weights, and keys and values of so many positions of each row."""
    config = policy.text_config
    width = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    weights = sum(p.numel() * p.element_size() for p in policy.model.parameters())
    return weights + batch * length * 2 * config.num_hidden_layers * width * policy.model.dtype.itemsize


def measure(policy: Policy, tokens: int, bandwidth: float, repeats: int) -> pd.DataFrame:
    """A row for each batch size and way; the seconds of a step from two lengths, so that the prompt's forward drops out."""
    rows = []
    for batch in (1, 32):
        for name, decode in decoders(policy, batch).items():
            taken = alternate({n: lambda n=n, decode=decode: decode(n) for n in (tokens // 2, tokens)}, repeats)
            step = (taken[tokens] - taken[tokens // 2]) / (tokens - tokens // 2)
            share = step_bytes(policy, batch, PROMPT + 0.75 * tokens) / step / (bandwidth * 1e9)
            rows.append({"way": name, "batch": batch, "tokens_per_second": batch / step, "share_of_bandwidth": share})
    return pd.DataFrame(rows)


def main(
    device: Annotated[str, typer.Option(help="cuda, or cpu to try the script on a tiny shape.")] = "cuda",
    bandwidth: Annotated[float, typer.Option(help="GB/s of the card; looked up by its name if 0.")] = 0,
    tokens: int = 256,
    repeats: int = 5,
    out: Annotated[Path, typer.Option(help="Folder for the table.")] = RESULTS,
) -> None:
    """Measures decoding on this machine's GPU."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no GPU here that torch can use, so nothing was measured.")
        return
    card = torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"
    bandwidth = bandwidth or next((rate for name, rate in BANDWIDTH.items() if name in card), float("nan"))
    shape = TINY if device == "cpu" else QWEN_15B
    policy = policy_of(Qwen2Config(**shape), device=device, dtype=torch.bfloat16)
    table = measure(policy, tokens, bandwidth, repeats).assign(card=card, bandwidth_gb_s=bandwidth, torch=torch.__version__)
    print(table.round(3).to_string(index=False))
    if device != "cpu":
        out.mkdir(parents=True, exist_ok=True)
        table.to_csv(out / "gpu.csv", index=False)


if __name__ == "__main__":
    typer.run(main)
