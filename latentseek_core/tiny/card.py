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
    stages = "\n".join(f"| {s.name} | {s.tokens / 1e6:.1f} M | {s.learning_rate:g} |" for s in recipe.stages)
    verdicts = "\n".join(
        f"| {check} | {v['n_right']} / {v['n_wrong']} | {_share(v['true_accept'])} | {_share(v['true_reject'])} |"
        for check, v in m["verifier"].items()
    )
    n, config = m["chain_of_thought"]["n"], recipe.config
    return f"""# {name}

A {type(config).__name__.removesuffix("Config")} of {m["parameters"]:,} parameters ({config.num_hidden_layers} layers, width {config.hidden_size}), trained from
scratch on the stories of `tiny-gsm` to solve them, and to check solutions. It is in the box so that the method can be learned and
doubted on a laptop. It knows nothing else; a sentence that is not one of these stories means nothing to it.

Made by `latentseek tiny train {name}`, then `latentseek tiny measure {name}`. Weights' SHA-256: `{m["weights_sha256"]}`.

## What was measured

{n} test problems, greedy, accuracy with 95 % interval:

| | solved |
|---|---|
| chain of thought, boxed (prompt 1) | {_percent(m["chain_of_thought"])} |
| chain of thought, JSON (prompt 2) | {_percent(m["chain_of_thought_json"])} |
| boxed, made to begin with "Carefully" | {_percent(m["chain_of_thought_begun_with_carefully"])} |

The last line is the lever that the search can find. In training, answers opened in five ways; those that open with "Carefully" or
"Slowly" work out each result from the units digit on, which this model does more reliably, and the others write it down at a
stroke. Left to itself it opens with {", ".join(f"{w!r} ({c})" for w, c in m["openings"].items())}.

As a verifier, on the chain of thought's answers, against the stories' programs (right / wrong: answers that should pass and
should be refused):

| check | right / wrong | accepted when right | refused when wrong |
|---|---|---|---|
{verdicts}

`reward` is self-reward > −0.2 against the true answer: what the search stops by.

## Training

| stage | tokens (padding included) | learning rate |
|---|---|---|
{stages}

Batches of about {recipe.batch_tokens} tokens, float32, Muon for matrices and AdamW for the rest, seed {recipe.seed}; about half an hour on two cores.
The committed weights come from a training that was broken off once in its last stage and went on from the checkpoint. The recipe
gives a model of the same kind; the same bits only on the same machine and versions, and not these, for which batches were drawn
without a fresh start at each checkpoint.

## What it is not

- One model, one seed, one kind of problem. That an effect shows here says that it can exist, not that it exists elsewhere.
- The verifier was trained on answers of this very model and on made-up mistakes of the same generator, with the right verdicts. No
  real model's self-judgement comes about like that, and few are as good. Answers that the search produces look different from the
  ones it was trained on, and it accepts fewer of the right ones among them.
- Solvers and stories have a fixed wording, and numbers up to 999.
"""


def _share(value: float | None) -> str:
    return "none seen" if value is None else f"{value:.1%}"
