"""An embedded model's folder: weights, tokenizer, its own verifier prompts, what was measured, and the card that says so."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from ..policy import MODELS_FOLDER, Policy
from ..prompts import render_prompt
from ..stats import interval
from . import worked
from .examples import VERIFIERS, as_problem
from .measure import accuracy, answers_of, verifier_confusion
from .recipes import RECIPES

TEMPLATE = Path(__file__).resolve().parent / "card.md"


def install(trained: Path, name: str) -> Path:
    """Copies a trained model to where embedded models lie, in float32 as trained, with its verifier prompts."""
    folder = MODELS_FOLDER / name
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    (folder / "prompts").mkdir(exist_ok=True)
    shutil.copy(VERIFIERS, folder / "prompts" / "verifiers.yaml")
    return folder


def measure(name: str, count: int = 1000, judged: int = 400) -> dict[str, Any]:
    """Greedy answers to `count` test problems in both formats, and verdicts on `judged` of them."""
    policy, stories = Policy.from_pretrained(name), worked.draw_stories("test", count, seed=0)
    answers = answers_of(policy, stories)
    asjson = answers_of(policy, stories, style="json")
    careful = _starting(policy, stories, "Carefully")
    tables = verifier_confusion(policy, stories[:judged], answers[:judged])
    return {
        "weights_sha256": hashlib.sha256((MODELS_FOLDER / name / "model.safetensors").read_bytes()).hexdigest(),
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "chain_of_thought": _rate(stories, answers),
        "chain_of_thought_json": _rate(stories, asjson, "json"),
        "chain_of_thought_begun_with_carefully": _rate(stories, careful),
        "openings": _openings(answers),
        "verifier": {
            check: {
                "n_right": t.should_pass,
                "true_accept": t.true_accept,
                "n_wrong": t.should_fail,
                "true_reject": t.true_reject,
            }
            for check, t in tables.items()
        },
    }


def _starting(policy: Policy, stories, word: str) -> list[str]:
    """Greedy answers that are made to begin with a word."""
    prompts = [policy.encode(render_prompt(as_problem(story))) for story in stories]
    start = policy.tokenizer(word, add_special_tokens=False)["input_ids"]
    completions = policy.generate(prompts, forced=[start] * len(prompts), max_new_tokens=220)
    return [policy.decode_text(c.token_ids) for c in completions]


def _rate(stories, answers, style: str = "boxed") -> dict[str, float]:
    rate = accuracy(stories, answers, style)
    low, high = interval([True] * round(rate * len(stories)) + [False] * (len(stories) - round(rate * len(stories))))
    return {"n": len(stories), "accuracy": rate, "low": low, "high": high}


def _openings(answers: list[str]) -> dict[str, int]:
    words = [answer.split()[0] if answer.split() else "" for answer in answers]
    return {word: words.count(word) for word in sorted(set(words), key=words.count, reverse=True)[:5]}


def write_card(name: str, measured: dict[str, Any]) -> Path:
    """Writes `measured.json` and the card."""
    folder = MODELS_FOLDER / name
    (folder / "measured.json").write_text(json.dumps(measured, indent=1) + "\n")
    (folder / "README.md").write_text(_card(name, measured))
    return folder / "README.md"


def _percent(rate: dict[str, float]) -> str:
    return f"{rate['accuracy']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]"


def _card(name: str, m: dict[str, Any]) -> str:
    recipe = RECIPES[name]
    values = {
        "name": name,
        "architecture": type(recipe.config).__name__.removesuffix("Config"),
        "parameters": m["parameters"],
        "layers": recipe.config.num_hidden_layers,
        "width": recipe.config.hidden_size,
        "weights_sha256": m["weights_sha256"],
        "n": m["chain_of_thought"]["n"],
        "boxed": _percent(m["chain_of_thought"]),
        "json": _percent(m["chain_of_thought_json"]),
        "careful": _percent(m["chain_of_thought_begun_with_carefully"]),
        "openings": ", ".join(f"{word!r} ({count})" for word, count in m["openings"].items()),
        "verdicts": "\n".join(_verdict_row(check, v) for check, v in m["verifier"].items()),
        "stages": "\n".join(f"| {s.name} | {s.tokens / 1e6:.1f} M | {s.learning_rate:g} |" for s in recipe.stages),
        "batch_tokens": recipe.batch_tokens,
        "seed": recipe.seed,
    }
    return TEMPLATE.read_text(encoding="utf-8").format(**values)


def _verdict_row(check: str, v: dict[str, Any]) -> str:
    return f"| {check} | {v['n_right']} / {v['n_wrong']} | {_share(v['true_accept'])} | {_share(v['true_reject'])} |"


def _share(value: float | None) -> str:
    return "none seen" if value is None else f"{value:.1%}"
