"""Runs: one folder that says what was done and holds one JSON line a problem, appended as soon as it is known.

A run that was killed goes on where it stopped; one that is finished is not run again.
"""

import glob
import json
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from tqdm import tqdm

from .answers import extract_answer, is_correct
from .methods import METHODS, Options, Outcome
from .policy import BATCH_SIZE, Policy
from .problems import Problem, load_benchmark
from .prompts import prompt_style
from .rewards import FormatReward, PerfectSparseReward, SelfReward
from .settings import SeekConfig

REWARDS = {
    "self": lambda policy, config: SelfReward(policy, prompt=config.verifiers),
    "psrm": lambda policy, config: PerfectSparseReward(config.prompt),
    "self+format": lambda policy, config: SelfReward(policy, prompt=config.verifiers) + FormatReward(config.prompt),
}


class RunConfig(BaseModel):
    """Everything that a run depends on; it is written beside the results as `config.json`.

    `out` is the run's folder. `budget_from` is the folder of a finished run: `resample` may spend as many answer tokens on the
    problems together as that run did. `reward` is empty for the chain of thought, which asks none. Search settings are those of `SeekConfig`.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    benchmark: str
    out: Path
    method: str = "latentseek"
    reward: str = "self"
    variant: str = ""
    prompt: str = "boxed"
    verifiers: str = "verifiers"
    split: str = "test"
    limit: int | None = Field(None, ge=1)
    rho: float = 0.2
    learning_rate: float = 0.03
    max_iterations: int = 10
    reward_threshold: float = -0.2
    max_new_tokens: int = 1024
    max_latents: int = 300
    optimizer: str = "adam"
    grad_clip: float | None = None
    temperature: float = Field(1.0, gt=0)
    seed: int = 0
    batch_size: int = Field(BATCH_SIZE, ge=1)
    budget_from: Path | None = None

    @field_validator("method")
    @classmethod
    def _known_method(cls, method: str) -> str:
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}: use one of {', '.join(METHODS)}")
        return method

    @field_validator("reward")
    @classmethod
    def _known_reward(cls, reward: str) -> str:
        if reward and reward not in REWARDS:
            raise ValueError(f"unknown reward {reward!r}: use one of {', '.join(REWARDS)}")
        return reward

    @model_validator(mode="after")
    def _settings_fit(self) -> "RunConfig":
        self.seek_config()
        self.reward = "" if self.method == "cot" else self.reward
        return self

    def seek_config(self) -> SeekConfig:
        names = set(SeekConfig.__dataclass_fields__) & set(type(self).model_fields)
        return SeekConfig(**{name: getattr(self, name) for name in names})


def make_config(**values: Any) -> RunConfig:
    """A checked `RunConfig`; what is wrong is said in one sentence.

    Raises:
        ValueError: an unknown or ill-valued setting.
    """
    try:
        config = RunConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"RunConfig.{where} is {first['input']!r}: {said}" if where else said) from error
    return config


def run(config: RunConfig, policy: Policy | None = None) -> Path:
    """Does what a configuration says and returns the run's folder, `config.out`.

    Args:
        policy: the model, where it is loaded already.

    Raises:
        ValueError: an unknown model, benchmark or prompt, a bad setting, or a folder that holds a run with other settings.
    """
    settings, style = config.seek_config(), prompt_style(config.prompt)
    problems = load_benchmark(config.benchmark, split=config.split, limit=config.limit)
    _claim_folder(config)
    results = config.out / "results.jsonl"
    _drop_torn_line(results)
    done = _rows(results)
    left = _left(problems, done)
    if not left:
        return config.out
    policy = policy or Policy.from_pretrained(config.model)
    reward = REWARDS[config.reward](policy, config) if config.reward else None
    options = Options(config.prompt, config.temperature, config.batch_size, _token_pool(config, problems, done))
    by_id = {problem.id: problem for problem in left}
    policy.forwarded_tokens, started = 0, time.perf_counter()
    with results.open("a", encoding="utf-8") as file, tqdm(total=len(problems), initial=len(done), desc=config.out.name) as bar:
        for outcomes in METHODS[config.method](policy, left, reward, settings, options):
            if not outcomes:
                continue
            # What can't be told apart by problem is shared out evenly among those that became known together.
            forwarded, seconds = policy.forwarded_tokens / len(outcomes), (time.perf_counter() - started) / len(outcomes)
            shared = {"forwarded_tokens": round(forwarded), "seconds": round(seconds, 3)}
            rows = [_row(by_id[outcome.problem_id], outcome, style) | shared for outcome in outcomes]
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            file.flush()
            bar.update(len(outcomes))
            policy.forwarded_tokens, started = 0, time.perf_counter()
    return config.out


def _left(problems: list[Problem], done: list[dict[str, Any]]) -> list[Problem]:
    finished = {row["problem_id"] for row in done}
    return [problem for problem in problems if problem.id not in finished]


def _token_pool(config: RunConfig, problems: list[Problem], done: list[dict[str, Any]]) -> int | None:
    """The answer tokens that another run spent on the same problems, less what this one has spent on those it has finished."""
    if config.budget_from is None:
        return None
    spent = {row["problem_id"]: row["answer_tokens"] for row in _rows(config.budget_from / "results.jsonl")}
    if missing := [problem.id for problem in problems if problem.id not in spent]:
        raise ValueError(f"{config.budget_from} has no result for problem {missing[0]}; finish that run first")
    return sum(spent[problem.id] for problem in problems) - sum(row["answer_tokens"] for row in done)


def _row(problem: Problem, outcome: Outcome, style: str) -> dict[str, Any]:
    asked = {"style": style, "benchmark": problem.benchmark}
    return {
        "problem_id": problem.id,
        "benchmark": problem.benchmark,
        "answer": extract_answer(outcome.answer_text, **asked, strict=False),
        "gold": problem.answer,
        "correct": is_correct(outcome.answer_text, problem.answer, **asked),
        "correct_loose": is_correct(outcome.answer_text, problem.answer, **asked, strict=False),
        "n_iterations": outcome.n_iterations,
        "prompt_tokens": outcome.prompt_tokens,
        "answer_tokens": outcome.answer_tokens,
        "verifier_tokens": outcome.verifier_tokens,
        "answer_text": outcome.answer_text,
        "steps": outcome.steps,
    }


def _claim_folder(config: RunConfig) -> None:
    """Writes the configuration, or checks that the folder's own is the same."""
    config.out.mkdir(parents=True, exist_ok=True)
    path, settings = config.out / "config.json", json.loads(config.model_dump_json(exclude={"out"}))
    if path.exists():
        defaults = {name: field.default for name, field in type(config).model_fields.items()}
        before = defaults | json.loads(path.read_text())["config"]
        other = [name for name in settings if settings[name] != before[name] and name not in ("limit", "batch_size")]
        if other:
            raise ValueError(
                f"{config.out} holds a run with another {other[0]} ({before[other[0]]!r}, not {settings[other[0]]!r}); "
                "choose another folder, or remove that one"
            )
    origin = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {p: version(p) for p in ("torch", "transformers")},
    }
    path.write_text(json.dumps({"config": settings, "origin": origin}, indent=1) + "\n")


def _drop_torn_line(path: Path) -> None:
    """Removes a last line that a kill cut off."""
    if path.exists():
        text = path.read_text(encoding="utf-8")
        path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")


def _rows(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a results file."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n") if line]


def load_runs(pattern: str | Path) -> pd.DataFrame:
    """All results of the run folders that match a glob pattern: a row a problem, with the run's settings beside it.

    Raises:
        ValueError: nothing matches.
    """
    folders = [Path(found) for found in sorted(glob.glob(str(pattern))) if (Path(found) / "config.json").is_file()]
    if not folders:
        raise ValueError(f"no run matches {str(pattern)!r}; a run is a folder with config.json and results.jsonl")
    rows = []
    for folder in folders:
        settings = json.loads((folder / "config.json").read_text())["config"]
        settings["model"] = _model_name(settings["model"])
        rows += [{"run": folder.name, **settings, **row} for row in _rows(folder / "results.jsonl")]
    return pd.DataFrame(rows)


def _model_name(model: str) -> str:
    """A folder's name, or the hub id as it is."""
    return Path(model).name if model.startswith(("/", ".", "~")) or Path(model).is_dir() else model
