"""Sweeps: many runs from one YAML file::

    out: out/rho                       # the folder that the runs go into
    name: "{method}-rho{rho}"          # a run's folder, from its settings
    base: {model: tiny-qwen2-1.8m, benchmark: tiny-gsm, reward: psrm, limit: 200}
    grid:                              # each combination is a run; a list of grids does one after another
      - {method: [cot]}
      - {method: [latentseek], rho: [0.1, 0.2, 0.4]}

`recipe` in base or grid names published settings (patterns such as `table1/gsm8k-*` stand for all that match); `budget_from` in the
grid names another run of the sweep.
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

from .configs import RunConfig, make_config
from .recipes import recipe, recipe_names
from .runs import load_policy, named_model, run
from .store import read_settings


def read_sweep(path: str | Path, *, shard: str = "", only: str = "*", **overrides: Any) -> list[RunConfig]:
    """The runs of a sweep, all checked before the first begins.

    Args:
        path: the YAML file.
        shard: `i/n`: of each run only the i-th of n parts, in a folder of its own; `load_runs` joins them.
        only: a pattern for the names of runs.
        overrides: settings that take the place of the file's `base`; `out` that of its folder.

    Raises:
        ValueError: a file of another form, a bad setting, two runs with one name.
    """
    sweep = read_settings(path)
    if unknown := set(sweep) - {"out", "name", "base", "grid"}:
        raise ValueError(f"{path} has an entry {sorted(unknown)[0]!r}; a sweep has out, name, base and grid")
    if missing := {"out", "grid"} - set(sweep):
        raise ValueError(f"{path} has no entry {sorted(missing)[0]!r}; a sweep has out, name, base and grid")
    folder, configs = Path(overrides.pop("out", None) or sweep["out"]), {}
    for cell in _cells(sweep["grid"], path):
        settings = dict(sweep.get("base") or {}) | overrides | cell
        settings = (recipe(settings["recipe"]) if settings.get("recipe") else {}) | settings
        name = _name(sweep.get("name"), settings, cell, path)
        if name in configs:
            raise ValueError(f"{path} gives the name {name!r} to two runs; put what tells them apart into `name`")
        ending = f".{shard.replace('/', '-of-')}" if shard else ""
        if budget := settings.get("budget_from"):  # another run of the sweep, by its name: the same part of it, if any
            settings["budget_from"] = folder / (_fill(budget, settings, path) + ending)
        configs[name] = make_config(**settings | {"out": folder / (name + ending), "shard": shard})
    chosen = [config for name, config in configs.items() if fnmatchcase(name, only)]
    if not chosen:
        raise ValueError(f"{path} has no run {only!r}; it has {', '.join(configs)}")
    return chosen


def _cells(grid: Any, path: str | Path) -> Iterator[dict[str, Any]]:
    """Each combination of values, of one grid after another."""
    for part in grid if isinstance(grid, list) else [grid]:
        if not isinstance(part, Mapping) or not all(isinstance(values, list) and values for values in part.values()):
            raise ValueError(f"{path}: a grid has lines `name: [value, value]`, not {part!r}")
        expanded = {name: _expand(values) if name == "recipe" else values for name, values in part.items()}
        for values in product(*expanded.values()):
            yield dict(zip(part, values, strict=True))


def _expand(patterns: list[str]) -> list[str]:
    """Recipes by name or pattern; a name that is no pattern stays, to be refused with its reason if there is no such recipe."""
    return [name for pattern in patterns for name in (recipe_names(pattern) or [pattern])]


def _name(template: str | None, settings: Mapping[str, Any], cell: Mapping[str, Any], path: str | Path) -> str:
    """A run's folder: what the template makes of its settings, else the cell's own values. A slash in the template makes folders,
    one in a value (a hub id) does not."""
    if template:
        return _fill(template, settings, path).strip("-") or "run"
    return ",".join(f"{key}={value}" for key, value in cell.items()).replace("/", "_") or "run"


def _fill(template: str, settings: Mapping[str, Any], path: str | Path) -> str:
    values = {name: field.default for name, field in RunConfig.model_fields.items()} | dict(settings)
    try:
        return template.format_map({k: v.replace("/", "_") if isinstance(v, str) else v for k, v in values.items()})
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(f"{path}: the template {template!r} can't be filled: no setting {error}") from error


def sweep(configs: list[RunConfig]) -> Iterator[Path]:
    """Does the runs one after another and yields each one's folder. What is finished is not done again, and a model is loaded once
    for runs in a row."""
    load = lru_cache(maxsize=1)(load_policy)
    for config in configs:
        yield run(config, partial(load, *named_model(config)))
