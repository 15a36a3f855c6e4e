"""Recipes: the settings of a run by name.

`table1/<benchmark>-<model>-<what>-<prompt>` are the cells of the paper's Table 1, put together from its published
hyperparameters and reward weights (version 3: Tables 21 to 26, appendix F.4 to F.6). Other recipes are YAML files under
`data/recipes/`, named by their path.
"""

import re
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .problems import DATA
from .published import load_published

RECIPES_FOLDER = DATA / "recipes"
BENCHMARKS = ("gsm8k", "math500", "aime2024")
MODELS = {
    "qwen2-7b": "Qwen/Qwen2-7B-Instruct",
    "qwen2.5-1.5b": "Qwen/Qwen2.5-1.5B-Instruct",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B-Instruct",
    "qwen2.5-14b": "Qwen/Qwen2.5-14B-Instruct",
    "llama-3.1-8b": "meta-llama/Llama-3.1-8B-Instruct",
}
# What stands in a recipe's name, and what the published tables call it.
WHATS = {
    "self": "latentseek_self",
    "psrm": "latentseek_psrm",
    "cot": "cot",
    "best_of_n": "bon3",
    "self_consistency": "self_consistency3",
    "self_reflection": "self_reflection",
}
PROMPTS = {"boxed": 1, "json": 2}
CHECKS = {
    "answer_correct": "answer_correct",
    "understanding": "understanding_check",
    "calculation": "calculation_check",
    "completeness": "answer_completeness",
}
USUAL_WEIGHTS = {"answer_correct": 1, "understanding_check": 1, "calculation_check": 2, "answer_completeness": 2}


class Cell(NamedTuple):
    """A cell of Table 1."""

    benchmark: str
    model: str
    what: str
    prompt: str

    @property
    def name(self) -> str:
        return "table1/" + "-".join(self)

    def rows(self, table: str, **columns: str) -> list[dict[str, Any]]:
        """The rows of a published table for this benchmark, model and prompt."""
        wanted = {"benchmark": self.benchmark, "model": Path(MODELS[self.model]).name, "prompt": PROMPTS[self.prompt]} | columns
        rows = load_published(table).to_dict("records")
        return [row for row in rows if all(row[column] == value for column, value in wanted.items())]


def recipe_names(pattern: str = "*") -> list[str]:
    """Names of the recipes that match a pattern with `*` and `?`."""
    return sorted(name for name in [*_cells(), *_files()] if fnmatchcase(name, pattern))


def recipe(name: str) -> dict[str, Any]:
    """The values of a `RunConfig` that a recipe sets.

    Raises:
        ValueError: unknown name, or a model whose settings were never published.
    """
    if cell := _cells().get(name):
        return _table1(cell)
    if name not in _files():
        raise ValueError(_why_not(name))
    values = yaml.safe_load(_files()[name].read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{_files()[name]} holds no settings; a recipe is a YAML mapping of RunConfig's fields")
    return values


def published_accuracy(name: str, version: str = "v3") -> float | None:
    """What the paper printed, in percent, for the cell that a recipe reruns; None where that version has no such cell.

    Version 3 has no cells with the oracle for each prompt (its Table 3 averages over both), version 1 none of self-consistency
    and self-reflection.

    Raises:
        ValueError: unknown recipe or version.
    """
    if version not in ("v1", "v3"):
        raise ValueError(f"unknown version {version!r}: the tables are those of v1 and v3")
    cell = _cells().get(name)
    if cell is None and name not in _files():
        raise ValueError(_why_not(name))
    rows = cell.rows(f"table1_{version}", method=WHATS[cell.what]) if cell else []
    return rows[0]["accuracy_pct"] if rows else None


def _cells() -> dict[str, Cell]:
    cells = (Cell(*parts) for parts in product(BENCHMARKS, MODELS, WHATS, PROMPTS))
    return {cell.name: cell for cell in cells}


def _files() -> dict[str, Path]:
    return {path.relative_to(RECIPES_FOLDER).with_suffix("").as_posix(): path for path in RECIPES_FOLDER.rglob("*.yaml")}


def _table1(cell: Cell) -> dict[str, Any]:
    searches = cell.what in ("self", "psrm")
    (published,) = cell.rows("hyperparameters_v3", reward=cell.what if searches else "self")
    values = {
        "model": MODELS[cell.model],
        "benchmark": cell.benchmark,
        "method": "latentseek" if searches else cell.what,
        "reward": {"psrm": "psrm", "self": "self", "best_of_n": "self"}.get(cell.what, ""),
        "prompt": cell.prompt,
        "max_new_tokens": published["max_new_tokens"],
        "dtype": published["dtype"],
    }
    if searches:
        values |= {"rho": published["rho"], "learning_rate": published["learning_rate"]}
        values |= {"optimizer": published["optimizer"].lower(), "max_iterations": published["max_steps"]}
    if cell.what in ("best_of_n", "self_consistency"):
        values["n_samples"] = 3  # the temperature of these samples is in no source
    return values | (_self_reward(cell) if values["reward"] == "self" else {})


def _self_reward(cell: Cell) -> dict[str, Any]:
    """Weights and format penalty where a cell has its own.

    The format's weight is printed on the scale of the checks' weights. The authors' code divides it by 6, the sum of their usual
    weights, and adds it outside the normalisation (2/6 at its only weight, 2). `SelfReward` divides by the sum of the weights in
    use, so the penalty is divided by the same: w/6 for 1:1:2:2, w/5 for 1:1:1:2. That keeps the printed ratio; what the authors
    divided by in the latter case is not known.
    """
    values: dict[str, Any] = {}
    for row in cell.rows("reward_weights_v3"):
        weights = {check: row[column] for column, check in CHECKS.items()}
        values |= {"reward": "self+format", "format_penalty": row["format"] / sum(weights.values())}
        if weights != USUAL_WEIGHTS:
            values["weights"] = weights
    return values


def _why_not(name: str) -> str:
    """Why there is no recipe of that name, in one sentence."""
    parts = re.fullmatch(rf"table1/({'|'.join(BENCHMARKS)})-(.+)-({'|'.join(WHATS)})-({'|'.join(PROMPTS)})", name)
    unpublished = {"mistral-7b": "Mistral-7B-Instruct", "qwen3-4b": "Qwen3-4B-Instruct-2507"}
    if parts and parts[2] in unpublished:
        return (
            f"no recipe {name!r}: the hyperparameters of {unpublished[parts[2]]} are in no source, "
            "so its published figures can't be rerun; give your own settings instead of a recipe"
        )
    names = recipe_names()
    close = get_close_matches(name, names, 3) or get_close_matches("table1/" + name, names, 3)
    return f"unknown recipe {name!r}: " + (f"did you mean {', '.join(close)}?" if close else "recipe_names() lists all")
