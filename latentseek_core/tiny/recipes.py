"""The recipes of the embedded models, by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import LlamaConfig, Qwen2Config

from ..policy import MODELS_FOLDER
from .examples import Mixture
from .tokenizer import VOCABULARY
from .train import Recipe, Stage, Trainer

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 192,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 512,
    "tie_word_embeddings": True,
    "max_position_embeddings": 2048,
    "bos_token_id": None,
    "pad_token_id": 0,
    "eos_token_id": 1,
}

# Understanding comes first; arithmetic takes drills. The verifier's three skills (to read a claim,
# to work it out without looking at it, to compare the two) are drilled apart before they are put together on whole answers.
STAGES = (
    Stage("understand", 3_000_000, Mixture(solve=0.85, drill=0.15), 3e-3),
    Stage("calculate", 3_000_000, Mixture(solve=0.36, maths=0.14, drill=0.5), 3e-3),
    Stage(
        "compare", 1_500_000, Mixture(solve=0.16, maths=0.06, drill=0.23, compare=0.15, equations=0.4, random_claims=0.85), 2e-3
    ),
    Stage(
        "verify",
        2_500_000,
        Mixture(solve=0.3, maths=0.1, drill=0.12, equations=0.08, verify=0.4, random_claims=0.3, shots=0.06),
        2e-3,
    ),
    Stage(
        "own answers",
        5_000_000,
        Mixture(solve=0.36, maths=0.12, drill=0.04, equations=0.06, verify=0.42, own=0.6, shots=0.06),
        2e-3,
        decay=True,
        sample_own=2400,
    ),
    Stage(
        "own answers again",
        3_500_000,
        Mixture(solve=0.34, maths=0.1, drill=0.03, equations=0.05, verify=0.48, own=0.6, shots=0.05),
        2e-3,
        decay=True,
        sample_own=2400,
    ),
)

# A grown model can do at once what the smaller one does; it goes on with the smaller one's mixture, on its own answers.
GROWN = (
    Stage("settle", 1_500_000, Mixture(solve=0.4, maths=0.2, drill=0.1, equations=0.05, verify=0.25, shots=0.06), 2e-3),
    replace(
        STAGES[-2],
        tokens=4_000_000,
        mixture=Mixture(solve=0.4, maths=0.14, drill=0.04, equations=0.04, verify=0.38, own=0.6, shots=0.06),
    ),
    replace(
        STAGES[-1],
        tokens=3_000_000,
        mixture=Mixture(solve=0.34, maths=0.12, drill=0.02, equations=0.04, verify=0.48, own=0.6, shots=0.05),
    ),
)

RECIPES = {
    "tiny-qwen2-1.8m": Recipe(Qwen2Config(num_hidden_layers=4, **SHAPE), STAGES),
    "tiny-llama-1.8m": Recipe(LlamaConfig(num_hidden_layers=4, **SHAPE), STAGES),
    "tiny-qwen2-3.3m": Recipe(Qwen2Config(num_hidden_layers=8, **SHAPE), GROWN, grown_from="tiny-qwen2-1.8m"),
    "tiny-llama-3.3m": Recipe(LlamaConfig(num_hidden_layers=8, **SHAPE), GROWN, grown_from="tiny-llama-1.8m"),
}


def train(name: str, folder: Path, seed: int = 0) -> Path:
    """Trains an embedded model by its recipe in `folder` and returns the folder of the finished model.

    A model that grows from a smaller one takes the one trained in the same `folder`, or else the one in the box.

    Raises:
        ValueError: no recipe of that name, or no model to grow from.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown embedded model {name!r}: there are recipes for {', '.join(RECIPES)}")
    recipe, small = RECIPES[name], None
    if recipe.grown_from:
        places = [folder / recipe.grown_from / "model", MODELS_FOLDER / recipe.grown_from]
        small = next((place for place in places if (place / "model.safetensors").is_file()), None)
        if small is None:
            raise ValueError(
                f"{name} grows from {recipe.grown_from}, which is neither in {folder} nor in the box; train that first"
            )
    Trainer(replace(recipe, seed=seed), folder / name, small=small).run()
    return folder / name / "model"
