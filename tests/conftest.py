"""Small random models with a tokenizer, for tests of the algorithm; the embedded model, for tests of what it can do."""

import os
import random
from functools import lru_cache

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    CohereConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
    StableLmConfig,
)

from latentseek_core import Policy, Problem
from latentseek_core.tiny.tokenizer import train_tokenizer

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for kernels and programs that tests start: several tests run at once

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 300}
KV = {"num_key_value_heads": 2}
CONFIGS = {
    "qwen2": Qwen2Config(**SMALL, **KV, tie_word_embeddings=True),
    "llama": LlamaConfig(**SMALL, **KV),
    "gemma2": Gemma2Config(**SMALL, **KV, head_dim=8, final_logit_softcapping=3.0),
    "cohere": CohereConfig(**SMALL, **KV, logit_scale=0.25),
    "granite": GraniteConfig(**SMALL, **KV, logits_scaling=4.0),
    "gpt_neox": GPTNeoXConfig(**SMALL),
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=300),
}
MORE_CONFIGS = {
    "qwen3": Qwen3Config(**SMALL, **KV, head_dim=8),
    "mistral": MistralConfig(**SMALL, **KV, sliding_window=16),
    "gemma3": Gemma3TextConfig(**SMALL, **KV, head_dim=8, sliding_window=16),
    "phi3": Phi3Config(**SMALL, **KV, pad_token_id=0),
    "olmo2": Olmo2Config(**SMALL, **KV),
    "stablelm": StableLmConfig(**SMALL, **KV),
    "smollm3": SmolLM3Config(**SMALL, **KV, pad_token_id=0),
    "bloom": BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=300),
}


def mostly_slow(values, *quick) -> list:
    """Values for `parametrize`, of which all but the `quick` ones run with the slow tests: the quick loop shall stay quick."""
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]


QUICK = ("qwen2", "llama", "gemma2")
# Architectures for tests that should hold on all of them.
ALL = mostly_slow([*CONFIGS, *MORE_CONFIGS], *QUICK)


@lru_cache
def tokenizer():
    """A tokenizer of 300 entries for nonsense texts, with the chat template of the embedded models."""
    return train_tokenizer(["a few words of nothing in particular 0123456789 to be cut into tokens"] * 3, vocabulary=300)


@lru_cache
def make_policy(architecture: str = "qwen2", seed: int = 0) -> Policy:
    """A small random model with sharp logits, so that no two tokens ever come close."""
    torch.manual_seed(seed)
    config = (CONFIGS | MORE_CONFIGS)[architecture]
    config.bos_token_id, config.pad_token_id, config.eos_token_id = None, 0, 1
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(8 if p.ndim > 1 else 1).add_(0.1 * torch.randn(p.shape))
    return Policy(model, tokenizer(), name=architecture)


def random_prompts(count: int, seed: int = 0) -> list[list[int]]:
    """Prompts of unlike length."""
    rng = random.Random(seed)
    return [[rng.randrange(5, 300) for _ in range(rng.randint(3, 17))] for _ in range(count)]


def random_problems(count: int) -> list[Problem]:
    return [Problem(str(i), f"question {i}", str(i), "tiny-gsm") for i in range(count)]


class LengthReward:
    """A reward that depends on the text alone, in [−1, −0.3]: enough to make the search do something."""

    def __call__(self, problems, answers):
        return [-0.3 - 0.7 * (sum(map(ord, answer)) % 11) / 10 for answer in answers]


@pytest.fixture
def policy() -> Policy:
    return make_policy()
