"""What answers cost: tokens by kind, and floating-point operations (FLOPs) from a model's shapes.

A decoder's products cost a fixed number of FLOPs for each token, for each pair of a token and a position that it attends to, and
for each position whose logits are asked for. The three rates are read off torch's own counter, on a model without weights.
"""

import json
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig

from .published import load_published

TOKEN_KINDS = ("prompt_tokens", "answer_tokens", "verifier_tokens", "forwarded_tokens")

# The shapes of Llama-3.1-8B, the model of the paper's appendix on FLOPs.
LLAMA_31_8B = LlamaConfig(
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    vocab_size=128256,
)


def tokens_by_kind(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each run: how many problems, and mean and total of each kind of token.

    Args:
        runs: rows as `load_runs` gives them.

    Raises:
        ValueError: a column is missing.
    """
    if missing := [column for column in ("run", *TOKEN_KINDS) if column not in runs]:
        raise ValueError(f"the runs have no column {missing[0]!r}; load them with load_runs")
    groups = runs.groupby("run", sort=False)
    columns = {"problems": groups.size()}
    for kind in TOKEN_KINDS:
        columns |= {f"{kind}_mean": groups[kind].mean(), f"{kind}_total": groups[kind].sum()}
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class FlopRates:
    """What a model's products cost; a multiply-add counts as two.

    Attributes:
        token: FLOPs for each token that goes through the layers.
        pair: FLOPs for each pair of a token and a position, scores and values of all layers together. All pairs of a forward
            count, as in torch's counter: a kernel that skips the future does about half of a prompt's, one with a sliding window
            less beyond the window.
        logits: FLOPs of the head for each position that is read.
    """

    token: int
    pair: int
    logits: int

    def forward(self, new_tokens: int, cached_tokens: int = 0, *, logit_positions: int | None = None) -> int:
        """FLOPs of one forward after so many cached tokens; logits for all new tokens unless said otherwise."""
        if min(new_tokens, cached_tokens, logit_positions or 0) < 0:
            raise ValueError(f"token counts can't be negative: {new_tokens} new, {cached_tokens} cached, {logit_positions} read")
        read = new_tokens if logit_positions is None else logit_positions
        return new_tokens * self.token + new_tokens * (new_tokens + cached_tokens) * self.pair + read * self.logits

    def generation(self, prompt_tokens: int, answer_tokens: int) -> int:
        """FLOPs of decoding an answer with a cache: the prompt's forward gives its first token, each further one a forward."""
        tokens, pairs = generated_positions(prompt_tokens, answer_tokens)
        return tokens * self.token + pairs * self.pair + answer_tokens * self.logits


def generated_positions(prompt_tokens: int, answer_tokens: int) -> tuple[int, int]:
    """The tokens and the pairs that go through the layers while an answer is decoded with a cache."""
    if prompt_tokens < 1 or answer_tokens < 1:
        raise ValueError(f"decoding needs a prompt and an answer, not {prompt_tokens} and {answer_tokens} tokens")
    steps = answer_tokens - 1
    return prompt_tokens + steps, prompt_tokens**2 + steps * prompt_tokens + steps * (steps + 1) // 2


def flop_rates(config: PretrainedConfig) -> FlopRates:
    """The rates of any dense decoder-only model of transformers, from its configuration alone: no weights are loaded.

    Raises:
        ValueError: a mixture of experts, an architecture that is no causal language model, or one whose cost is no sum of the
            three rates (recurrent and convolutional layers).
    """
    return _measure(type(config), config.to_json_string(use_diff=False))


def forward_flops(
    config: PretrainedConfig, new_tokens: int, cached_tokens: int = 0, *, logit_positions: int | None = None
) -> int:
    """FLOPs of one forward of `new_tokens` behind `cached_tokens`, by `flop_rates`."""
    return flop_rates(config).forward(new_tokens, cached_tokens, logit_positions=logit_positions)


@lru_cache
def _measure(kind: type[PretrainedConfig], shapes: str) -> FlopRates:
    config = kind.from_dict(json.loads(shapes))
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
        if any("expert" in name.lower() for name, _ in model.named_modules()):
            raise ValueError("in a mixture of experts the cost depends on the routing, not on shapes alone")
        counts = {n: _counted(model, n) for n in (2, 3, 5)}
    except Exception as error:  # whatever an architecture may fail at, the reader gets it in one sentence
        first_line = str(error).partition("\n")[0]
        raise ValueError(f"can't count the FLOPs of {config.model_type!r}: {first_line}") from error
    logits = 2 * model.get_output_embeddings().weight.numel()
    # F(n) = token·n + pair·n² + logits·n: two lengths give the rates, a third one checks that it has this form.
    pair = counts[3] // 3 - counts[2] // 2
    rates = FlopRates(counts[2] // 2 - 2 * pair - logits, pair, logits)
    if any(rates.forward(n) != count for n, count in counts.items()):
        raise ValueError(
            f"can't count the FLOPs of {config.model_type!r}: they don't grow as those of attention and dense layers do"
        )
    return rates


def _counted(model: torch.nn.Module, length: int) -> int:
    ids = torch.zeros(1, length, dtype=torch.long, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return counter.get_total_flops()


def parts_by_hand(config: PretrainedConfig, tokens: int, pairs: int, logit_positions: int) -> pd.Series:
    """The same count by formula, part by part, for models with Llama's layers: two FLOPs for each weight a token meets.

    Args:
        tokens: tokens that go through the layers.
        pairs: pairs of a token and a position that it attends to: n·(n + cached) for one forward.
        logit_positions: positions whose logits are read.

    Raises:
        ValueError: a configuration without these shapes.
    """
    try:
        d, heads, ffn, layers = (
            getattr(config, name) for name in ("hidden_size", "num_attention_heads", "intermediate_size", "num_hidden_layers")
        )
        kv_heads = config.num_key_value_heads
    except AttributeError as error:
        raise ValueError(f"{config.model_type!r} doesn't name its shapes as Llama does ({error}); use flop_rates") from error
    head_dim = getattr(config, "head_dim", None) or d // heads
    q, kv = heads * head_dim, kv_heads * head_dim
    weights = {"q_proj": d * q, "k_proj": d * kv, "v_proj": d * kv, "out_proj": q * d}
    weights |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), d * ffn)
    parts = {name: 2 * layers * tokens * size for name, size in weights.items()}
    parts |= dict.fromkeys(("qk_matmul", "sv_matmul"), 2 * layers * pairs * q)
    return pd.Series(parts | {"lm_head": 2 * logit_positions * d * config.vocab_size}, name="flops")


def search_flops(
    config: PretrainedConfig, *, forwarded_tokens: int, decoded_tokens: int, latent_updates: int, context: float
) -> pd.Series:
    """FLOPs of LatentSeek searches from their token counts, line by line.

    Args:
        forwarded_tokens: token positions that went through the layers (`forwarded_tokens` of the rows).
        decoded_tokens: positions whose logits were read (`answer_tokens` + `verifier_tokens`).
        latent_updates: sum of N over all iterations: N·I for one problem.
        context: positions that a token attends to, on average; half of a sequence's length where little is cached.
    """
    rates = flop_rates(config)
    return pd.Series(
        {
            "layers": forwarded_tokens * rates.token,
            "attention": round(forwarded_tokens * context * rates.pair),
            "head, decoding": decoded_tokens * rates.logits,
            "head, loss": latent_updates * rates.logits,
            # The gradient with respect to z alone is one product with the head's weights; the layers see none.
            "head, gradient": latent_updates * rates.logits,
            "head, tokens of the new latents": latent_updates * rates.logits,
        },
        name="flops",
    )


# The paper's appendix G: training examples and test problems of Genius, mean iterations of LatentSeek, tokens of a pass.
TRAINING_EXAMPLES, PROBLEMS, ITERATIONS, PROMPT_TOKENS, ANSWER_TOKENS = 100_000, 1319, 1.27, 512, 512


def forward_parts() -> pd.DataFrame:
    """One pass of Llama-3.1-8B part by part: as the paper prints it, and all 32 layers, all 512 decoded tokens and the head's
    factor of 2 counted.

    The paper's columns hold one layer, one decoded token and half a head. Elementwise parts are left out of the corrected
    columns (missing there), as in torch's counter; they are under 0.1 % of the pass.
    """
    paper = load_published("table27_flops_v3").set_index("component").add_prefix("paper_")
    prefill = (PROMPT_TOKENS, PROMPT_TOKENS**2, 1)
    tokens, pairs = generated_positions(PROMPT_TOKENS, ANSWER_TOKENS)
    decode = (tokens - prefill[0], pairs - prefill[1], ANSWER_TOKENS - 1)
    counted = {"prefill_flops": prefill, "decode_flops": decode}
    return paper.join(pd.DataFrame({name: parts_by_hand(LLAMA_31_8B, *counts) for name, counts in counted.items()}))


def paper_count() -> pd.DataFrame:
    """Appendix G as the paper counts: a row a line, with how often it occurs on the 1,319 problems of GSM8K and its FLOPs."""
    table = load_published("table27_flops_v3").set_index("component")
    forward, head_backward = table.to_numpy().sum(), 2 * table.loc["lm_head", "decode_flops"]
    return _count(
        ("Genius", "training", "forward and backward (twice a forward) of an example", 3 * TRAINING_EXAMPLES, forward),
        ("Genius", "test", "answer", PROBLEMS, forward),
        ("LatentSeek", "test", "answer of an iteration", ITERATIONS * PROBLEMS, forward),
        ("LatentSeek", "test", "reward of an iteration", ITERATIONS * PROBLEMS, forward),
        ("LatentSeek", "test", "head, backward", ITERATIONS * PROBLEMS, head_backward),
    )


def corrected_count(rho: float = 0.2, verdict_tokens: int = 512) -> pd.DataFrame:
    """Appendix G with all layers, all tokens, the whole head, the first chain of thought and its reward, and four verdicts a
    reward; lines as in `paper_count`.

    A verifier reads question and answer, and its prompt is read anew for each of the four. Genius's side keeps the paper's
    passes: the rollouts behind its training pairs, the second answer of a pair and the reference model are in neither count.

    Args:
        rho: share of the answer's latents that are optimised.
        verdict_tokens: what one verifier writes; the paper's passes are labelled 512 decoded tokens.
    """
    rates = flop_rates(LLAMA_31_8B)
    training, latents = rates.forward(PROMPT_TOKENS + ANSWER_TOKENS), int(rho * ANSWER_TOKENS)
    answer = rates.generation(PROMPT_TOKENS, ANSWER_TOKENS)
    verdict = rates.generation(PROMPT_TOKENS + ANSWER_TOKENS, verdict_tokens)
    iterations, updates = ITERATIONS * PROBLEMS, ITERATIONS * PROBLEMS * latents
    return _count(
        ("Genius", "training", "forward and backward (twice a forward) of an example", 3 * TRAINING_EXAMPLES, training),
        ("Genius", "test", "answer", PROBLEMS, answer),
        ("LatentSeek", "test", "first chain of thought", PROBLEMS, answer),
        ("LatentSeek", "test", "its reward: verdict", 4 * PROBLEMS, verdict),
        ("LatentSeek", "test", "answer of an iteration", iterations, answer),
        ("LatentSeek", "test", "reward of an iteration: verdict", 4 * iterations, verdict),
        ("LatentSeek", "test", "head, loss of a latent", updates, rates.logits),
        ("LatentSeek", "test", "head, backward to a latent", updates, rates.logits),
        ("LatentSeek", "test", "head, token of a new latent", updates, rates.logits),
    )


def break_even(count: pd.DataFrame) -> float:
    """The number of test problems at which training and then answering costs as much as searching for each.

    The paper's printed equation also adds the 1,319 test answers to the training side; its printed result, 1.94e5, is that of
    training alone, as here.
    """
    totals = count.groupby(["method", "when"])["flops"].sum()
    saved = (totals["LatentSeek", "test"] - totals["Genius", "test"]) / PROBLEMS
    return totals["Genius", "training"] / saved


def _count(*lines: tuple[str, str, str, float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(lines, columns=["method", "when", "line", "times", "flops_each"])
    return frame.assign(flops=frame["times"] * frame["flops_each"])
