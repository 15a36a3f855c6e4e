"""An embedded model's folder: weights, tokenizer, its own verifier prompts, what was measured, and the card that says so."""

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from .. import figures
from ..policy import MODELS_FOLDER, Policy
from ..prompts import render_prompt
from ..stats import interval
from . import checks, report
from .benchmark import SPLITS, draw_problems, draw_tasks
from .examples import VERIFIERS, OwnAnswers, as_problem
from .measure import ANSWER_TOKENS, Confusion, answers_of, answers_of_searches, solved, verifier_confusion
from .recipes import RECIPES
from .tasks import Task

TEMPLATE = Path(__file__).resolve().parent / "card.md"
NOTES = Path(__file__).resolve().parent / "notes"
AGAIN = "again.json"  # what was measured of a training with another seed
EARLY = "-early"  # a model as it was before its last stage has this behind its name


def install(trained: Path, folder: Path) -> Path:
    """Copies a trained model into a folder such as embedded models have, with its verifier prompts and the log of its training.

    `trained` is the folder of the finished model, or of a stage of it.
    """
    training = trained.parent if trained.name == "model" else trained.parents[1]
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    (folder / "prompts").mkdir(exist_ok=True)
    shutil.copy(VERIFIERS, folder / "prompts" / "verifiers.yaml")
    shutil.copy(training / "log.csv", folder / "training.csv")
    log = pd.read_csv(folder / "training.csv")
    if trained.name.isdigit():
        log = log[log.stage.isin(log.stage.unique()[: int(trained.name)])]
        log.to_csv(folder / "training.csv", index=False)
    figures.set_style()
    figures.plot_training({folder.name: log}).savefig(folder / "training.png", bbox_inches="tight", dpi=80)
    return folder


def measure(folder: Path, judged: int = 400) -> dict[str, Any]:
    """Greedy answers to every test problem of the three benchmarks in both formats, and verdicts on `judged` stories: on the first
    answers, and on those of searches. `judged` = 0 leaves the verdicts out."""
    policy = Policy.from_pretrained(folder)
    tasks = {benchmark: draw_tasks(benchmark, "test", splits["test"], seed=0) for benchmark, splits in SPLITS.items()}
    tasks["tiny-aime (wide)"] = draw_tasks("tiny-aime", "wide", SPLITS["tiny-aime"]["wide"], seed=0)
    answers = {style: {b: answers_of(policy, t, style=style) for b, t in tasks.items()} for style in ("boxed", "json")}
    stories, first = tasks["tiny-gsm"], answers["boxed"]["tiny-gsm"]
    log = pd.read_csv(folder / "training.csv")
    return {
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "parameters": sum(p.numel() for p in policy.model.parameters()),
        "training_minutes": round(log.seconds.max() / 60, 1),
        "training_tokens": int(log.tokens.max()),
        "accuracy": {
            style: {b: _rate(tasks[b], texts) for b, texts in by_benchmark.items()} for style, by_benchmark in answers.items()
        },
        "few_shot": _rate(stories, _few_shot(policy, stories)),
        "begun_with": {word: _rate(stories, _begun_with(policy, stories, word)) for word in ("First", "Carefully")},
        "openings": dict(Counter(answer.split()[0] if answer.split() else "" for answer in first).most_common(5)),
        "mistakes": mistakes(stories, first),
        "verifier": _verdicts(policy, stories[:judged], first[:judged]) if judged else {},
    }


def mistakes(tasks: list[Task], answers: list[str]) -> dict[str, int]:
    """How many answers are right, and which of the three checks the wrong ones fail (a wrong answer may fail several)."""
    right, names = [solved(*pair) for pair in zip(tasks, answers, strict=True)], checks.CHECKS[1:]
    wrong = [pair for pair, fits in zip(zip(tasks, answers, strict=True), right, strict=True) if not fits]
    failed = {name: sum(not checks.check(name, *pair)[1] for pair in wrong) for name in names}
    lucky = sum(
        fits and not checks.check("calculation_check", *pair)[1]
        for pair, fits in zip(zip(tasks, answers, strict=True), right, strict=True)
    )
    return {"right": sum(right), "right by luck": lucky, "wrong": len(wrong), **failed}


def _verdicts(policy: Policy, tasks: list[Task], first: list[str]) -> dict[str, dict[str, Any]]:
    searched = answers_of_searches(policy, tasks)
    return {
        "first answers": _tables(policy, list(zip(tasks, first, strict=True))),
        "answers of searches": _tables(policy, searched),
    }


def _tables(policy: Policy, pairs: OwnAnswers) -> dict[str, Any]:
    tables = verifier_confusion(policy, [task for task, _ in pairs], [answer for _, answer in pairs])
    return {check: _confusion(table) for check, table in tables.items()}


def _confusion(t: Confusion) -> dict[str, Any]:
    return {
        "n_right": t.should_pass,
        "true_accept": t.true_accept,
        "n_wrong": t.should_fail,
        "true_reject": t.true_reject,
    }


def _begun_with(policy: Policy, tasks: list[Task], word: str) -> list[str]:
    """Greedy answers that are made to begin with a word."""
    start = policy.tokenizer(word, add_special_tokens=False)["input_ids"]
    return answers_of(policy, tasks, forced=[start] * len(tasks))


def _few_shot(policy: Policy, tasks: list[Task]) -> list[str]:
    """Greedy answers behind one worked example."""
    (shot,) = draw_problems("tiny-gsm", "train", 1, seed=0)
    prompts = [policy.encode(render_prompt(as_problem(task), shots=[shot])) for task in tasks]
    return [policy.decode_text(c.token_ids) for c in policy.generate(prompts, max_new_tokens=ANSWER_TOKENS)]


def _rate(tasks: list[Task], answers: list[str]) -> dict[str, float]:
    right = [solved(*pair) for pair in zip(tasks, answers, strict=True)]
    low, high = interval(right)
    return {"n": len(right), "accuracy": sum(right) / len(right), "low": low, "high": high}


def measure_again(trained: Path, name: str, seed: int) -> Path:
    """Measures a training with another seed; the card of the model in the box then says which figures moved.

    Returns the folder that the other model can be loaded from, beside its training.
    """
    folder = install(trained, trained.parent / f"{name}-seed{seed}")
    (MODELS_FOLDER / name / AGAIN).write_text(json.dumps({"seed": seed} | measure(folder), indent=1) + "\n")
    write_card(name, json.loads((MODELS_FOLDER / name / "measured.json").read_text()))
    return folder


def write_card(name: str, measured: dict[str, Any]) -> Path:
    """Writes `measured.json` and the card; `notes/NAME.md`, where there is one, is its last section."""
    folder = MODELS_FOLDER / name
    (folder / "measured.json").write_text(json.dumps(measured, indent=1) + "\n")
    (folder / "README.md").write_text(_card(name, measured), encoding="utf-8")
    return folder / "README.md"


def _moved(folder: Path, measured: dict[str, Any]) -> str:
    """The section on a training with another seed, where there was one."""
    if not (folder / AGAIN).is_file():
        return ""
    again = json.loads((folder / AGAIN).read_text())
    table = report.moved(measured, again)
    rows = "\n".join(
        f"| {row.figure} | {report.written(row.here)} | {report.written(row.again)} | {row.points:+.1f} | {row.p:.2g} |"
        for row in table.itertuples()
    )
    return (
        f"\n## The same recipe with seed {again['seed']}\n\nTrained by `latentseek tiny train {folder.name} --seed {again['seed']}` in "
        f"{again['training_minutes']:.0f} minutes, measured in the same way; the weights are not in the box (SHA-256 "
        f"`{again['weights_sha256']}`). {report.moved_said(table)}\n\n| figure | in the box | seed {again['seed']} | points | p |\n"
        f"|---|---|---|---|---|\n{rows}\n"
    )


def _percent(rate: dict[str, float]) -> str:
    return f"{rate['accuracy']:.1%} [{rate['low']:.1%}, {rate['high']:.1%}]"


def _card(name: str, m: dict[str, Any]) -> str:
    recipe, note = RECIPES[name.removesuffix(EARLY)], NOTES / f"{name}.md"
    wrong, done = m["mistakes"], set(pd.read_csv(MODELS_FOLDER / name / "training.csv").stage)
    values = {
        "name": name,
        "trained_as": name.removesuffix(EARLY),
        "architecture": type(recipe.config).__name__.removesuffix("Config"),
        "parameters": m["parameters"],
        "layers": recipe.config.num_hidden_layers,
        "width": recipe.config.hidden_size,
        "start": f"grown from {recipe.grown_from}" if recipe.grown_from else "trained from scratch",
        "weights_sha256": m["weights_sha256"],
        "benchmarks": "\n".join(
            f"| {b} | {rate['n']} | {_percent(rate)} | {_percent(m['accuracy']['json'][b])} |"
            for b, rate in m["accuracy"]["boxed"].items()
        ),
        "few_shot": _percent(m["few_shot"]),
        "first": _percent(m["begun_with"]["First"]),
        "careful": _percent(m["begun_with"]["Carefully"]),
        "openings": ", ".join(f"“{word}” ({count})" for word, count in m["openings"].items()),
        "mistakes": f"{wrong['wrong']} answers were wrong: {wrong['understanding_check']} of them misread the story, "
        f"{wrong['calculation_check']} calculated wrongly, {wrong['answer_completeness']} came to no definite answer "
        f"(some do several). {wrong['right by luck']} of the {wrong['right']} right ones hold a wrong calculation.",
        "verdicts": "\n\n".join(_verdict_table(title, table) for title, table in m["verifier"].items()),
        "stages": "\n".join(
            f"| {s.name} | {s.tokens / 1e6:.1f} M | {s.learning_rate:g} | {_shares(s)} |" for s in recipe.stages if s.name in done
        ),
        "moved": _moved(MODELS_FOLDER / name, m),
        "seed": recipe.seed,
        "minutes": m["training_minutes"],
        "tokens": m["training_tokens"] / 1e6,
        "note": note.read_text(encoding="utf-8").strip() if note.is_file() else "",
    }
    return TEMPLATE.read_text(encoding="utf-8").format(**values).rstrip() + "\n"


def _shares(stage) -> str:
    kinds = ("solve", "maths", "drill", "compare", "equations", "verify")
    return ", ".join(f"{kind} {getattr(stage.mixture, kind):.0%}" for kind in kinds if getattr(stage.mixture, kind))


def _verdict_table(title: str, table: dict[str, Any]) -> str:
    head = f"| {title} | right / wrong | accepted when right | refused when wrong |\n|---|---|---|---|\n"
    return head + "\n".join(
        f"| {check} | {v['n_right']} / {v['n_wrong']} | {_share(v['true_accept'])} | {_share(v['true_reject'])} |"
        for check, v in table.items()
    )


def _share(value: float | None) -> str:
    return "none seen" if value is None else f"{value:.1%}"
