"""The recipes of the embedded models, by name."""

from pathlib import Path

from transformers import Qwen2Config

from .examples import Mixture
from .tokenizer import VOCABULARY
from .train import Recipe, Stage, Trainer

# Understanding comes first and fast; arithmetic takes drills. The verifier's three skills (to read a claim, to work it out without
# looking at it, to compare the two) are drilled apart before they are put together on whole answers.
STAGES = (
    Stage("understand", 3_500_000, Mixture(solve=0.85, drill=0.15), 3e-3),
    Stage("calculate", 3_000_000, Mixture(solve=0.5, drill=0.5), 3e-3),
    Stage("compare", 1_500_000, Mixture(solve=0.2, drill=0.25, compare=0.15, equations=0.4, random_claims=0.85), 2e-3),
    Stage("verify", 2_000_000, Mixture(solve=0.4, drill=0.15, equations=0.1, verify=0.35, random_claims=0.3), 2e-3),
    Stage(
        "own answers",
        3_500_000,
        Mixture(solve=0.5, drill=0.05, equations=0.08, verify=0.37, own=0.55),
        2e-3,
        decay=True,
        sample_own=2000,
    ),
)

RECIPES = {
    "tiny-qwen2-1.8m": Recipe(
        config=Qwen2Config(
            vocab_size=VOCABULARY,
            hidden_size=192,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=512,
            tie_word_embeddings=True,
            max_position_embeddings=2048,
            bos_token_id=None,
            pad_token_id=0,
            eos_token_id=1,
        ),
        stages=STAGES,
    ),
}


def train(name: str, folder: Path) -> Path:
    """Trains an embedded model by its recipe in `folder` and returns the folder of the finished model.

    Raises:
        ValueError: no recipe of that name.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown embedded model {name!r}: there are recipes for {', '.join(RECIPES)}")
    Trainer(RECIPES[name], folder / name).run()
    return folder / name / "model"
