"""Tokens per second of `policy.generate` against transformers' `generate`, and the memory that a batch takes."""

from collections.abc import Callable

import pandas as pd
import torch
from common import LAYERS, WIDTH, alternate, forget_peak, in_fresh_process, random_policy, random_prompts, resident_bytes

from latentseek_core import Policy

LENGTHS = {"all 100": (100,), "40 to 100": (100, 40, 85, 60, 70)}


def left_padded(prompts: list[list[int]]) -> dict[str, torch.Tensor]:
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return {"input_ids": ids, "attention_mask": mask}


def decoders(policy: Policy, prompts: list[list[int]], tokens: int) -> dict[str, Callable[[], list[list[int]]]]:
    """Both ways to the same answers."""
    inputs = left_padded(prompts)

    def theirs():
        out = policy.model.generate(**inputs, max_new_tokens=tokens, do_sample=False, pad_token_id=0)
        return out[:, inputs["input_ids"].shape[1] :].tolist()

    return {"kit": lambda: [c.token_ids for c in policy.generate(prompts, max_new_tokens=tokens)], "transformers": theirs}


def against_transformers(quick: bool) -> pd.DataFrame:
    """A row for each batch size and kind of prompts: tokens per second of both, and how many answers agree to the last token."""
    policy = random_policy(256, 2) if quick else random_policy()
    tokens, repeats, rows = (8, 2, []) if quick else (48, 5, [])
    for kind, lengths in LENGTHS.items():
        for batch in (1, 8, 32):
            ways = decoders(policy, random_prompts(batch, lengths), tokens)
            same = sum(a == b for a, b in zip(*(way() for way in ways.values()), strict=True))
            speed = {f"{name}_tokens_per_second": batch * tokens / taken for name, taken in alternate(ways, repeats).items()}
            ratio = speed["kit_tokens_per_second"] / speed["transformers_tokens_per_second"]
            rows.append({"prompts": kind, "batch": batch, **speed, "ratio": ratio, "same_answers": same, "new_tokens": tokens})
    return pd.DataFrame(rows)


def memory_of(batch: int, tokens: int, width: int, layers: int) -> dict[str, float]:
    """Memory in MB that decoding a batch adds to a process that holds the model, and what its cache alone should take."""
    policy = random_policy(width, layers)
    prompts = random_prompts(batch)
    policy.generate(prompts[:1], max_new_tokens=2)
    forget_peak()
    before = resident_bytes()
    policy.generate(prompts, max_new_tokens=tokens)
    config = policy.text_config
    per_token = 2 * 4 * layers * config.num_key_value_heads * (config.hidden_size // config.num_attention_heads)
    cache = batch * (len(prompts[0]) + tokens) * per_token
    return {"model_mb": before / 1e6, "added_mb": (resident_bytes(peak=True) - before) / 1e6, "cache_mb": cache / 1e6}


def memory(quick: bool) -> pd.DataFrame:
    """A row for each batch size, each measured in a fresh process."""
    shape = (8, 256, 2) if quick else (128, WIDTH, LAYERS)
    batches = (1, 32) if quick else (1, 8, 32, 64)
    return pd.DataFrame([{"batch": batch} | in_fresh_process(memory_of, batch, *shape) for batch in batches])
