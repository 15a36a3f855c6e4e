"""The ledger of claims: what the paper says, what was measured of it, and a verdict that a rule gives.

`data/claims.yaml` holds the claims. A claim has tests; a test is a measurement (`measures.py`) over the runs of one model on one task, or
over the paper's own tables, and a rule with a bound. The verdict follows from the measurement's 95 % interval and from an exact or
t-test against the bound; nobody types it in.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ..problems import DATA
from ..runs import origins
from ..stats import holm, interval
from .measures import COLUMN, MEASURES, ON_PAPER, RUNS, Column, Effect, NotRunError, name_of, read_runs, tokens_of

CLAIMS = DATA / "claims.yaml"
PAPER = ("the paper's tables", "", "")
HOLDS, PART, FAILS, OPEN = "holds", "holds in part", "does not hold", "undecided"
MISSING, UNTESTED = "not yet run", "not tested"
SAME = ["rule", "n", "value", "p", "solved", "runs"]  # what tells two tests apart


def read_claims(path: Path = CLAIMS) -> list[dict[str, Any]]:
    """The claims, in order.

    Raises:
        ValueError: two claims of one name, one with neither tests nor a reason, an unknown measurement or rule.
    """
    claims = yaml.safe_load(path.read_text(encoding="utf-8"))
    if twice := [name for name, count in Counter(claim["id"] for claim in claims).items() if count > 1]:
        raise ValueError(f"{path} has two claims {twice[0]!r}")
    for claim in claims:
        if not claim.get("tests") and not claim.get("reason"):
            raise ValueError(f"claim {claim['id']} has neither tests nor a reason why it has none")
        for test in claim.get("tests", []):
            if test["measure"] not in MEASURES:
                raise ValueError(f"claim {claim['id']}: unknown measure {test['measure']!r}: use one of {', '.join(MEASURES)}")
            if set(test["rule"]) - {"above", "below", "between", "equals"} or len(test["rule"]) != 1:
                raise ValueError(f"claim {claim['id']}: a rule is above, below, between or equals, not {test['rule']}")
    return claims


def verdict(effect: Effect, rule: Mapping[str, Any]) -> str:
    """What a rule makes of a measurement.

    `above` and `below` hold where the whole interval, and a test at 5 %, are beyond the bound; fail where both are on the other side.
    `between` holds where the whole interval lies between, fails where all of it lies outside. `equals` [value, tolerance] compares
    arithmetic with what the paper states, and can only hold or fail.
    """
    ((kind, bound),) = rule.items()
    if kind == "equals":
        return HOLDS if abs(effect.value - bound[0]) <= bound[1] else FAILS
    low, high = bound if kind == "between" else (bound, np.inf) if kind == "above" else (-np.inf, bound)
    sure = effect.p is None or effect.p < 0.05
    if kind == "between":
        inside, outside = low <= effect.low and effect.high <= high, effect.high < low or effect.low > high
    else:
        inside, outside = (effect.low > low) and (effect.high < high), effect.high < low or effect.low > high
    return HOLDS if inside and sure else FAILS if outside and sure else OPEN


def together(verdicts: list[str]) -> str:
    """The verdict on a claim of several tests; those not yet run are counted in brackets."""
    done = [each for each in verdicts if each != MISSING]
    if not done or UNTESTED in done:
        return (done or [MISSING])[0]
    without = FAILS if FAILS in done else OPEN
    found = without if HOLDS not in done else HOLDS if set(done) == {HOLDS} else PART
    return found if len(done) == len(verdicts) else f"{found} ({len(done)} of {len(verdicts)} tests run)"


def ledger(runs: pd.DataFrame, claims: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each test of each claim in each column (`COLUMN`), first those on the paper's own tables, with its verdict.

    `p_holm` is Holm's correction over all different tests of a column. A claim without tests has one row, with its reason.
    """
    columns = {PAPER: Column(runs.iloc[:0])}
    asked = runs[runs.split != "tune"] if len(runs) else runs
    columns |= {key: Column(runs[(runs[COLUMN] == list(key)).all(axis=1)]) for key, _ in asked.groupby(COLUMN, sort=True)}
    table = [row for key, column in columns.items() for claim in claims for row in _entries(claim, key, column)]
    table += [_entry(claim, PAPER, verdict=UNTESTED, reason=claim["reason"]) for claim in claims if not claim.get("tests")]
    frame = pd.DataFrame(table, columns=list(_entry({"id": ""}, PAPER)))
    for _, group in frame[frame.p.notna()].groupby(COLUMN):
        once = group.drop_duplicates(SAME)  # two claims may share a test
        corrected = once.assign(p_holm=holm(once.p.tolist()))[[*SAME, "p_holm"]]
        frame.loc[group.index, "p_holm"] = group[SAME].merge(corrected, on=SAME, how="left").p_holm.to_numpy()
    order = {claim["id"]: number for number, claim in enumerate(claims)}
    return frame.sort_values("id", key=lambda ids: ids.map(order), kind="stable", ignore_index=True)


def _entry(claim: dict, key: tuple, **values: Any) -> dict[str, Any]:
    blank = {"test": "", "rule": "", "verdict": "", **dict.fromkeys(Effect.__dataclass_fields__), "p_holm": None, "reason": ""}
    return {"id": claim["id"], **dict(zip(COLUMN, key, strict=True))} | blank | values


def _entries(claim: dict, key: tuple, column: Column) -> list[dict[str, Any]]:
    if key != PAPER and not all(dict(zip(COLUMN, key, strict=True))[n] in some for n, some in claim.get("on", {}).items()):
        return []
    rows = []
    for test in claim.get("tests", []):
        if (test["measure"] in ON_PAPER) != (key == PAPER):
            continue
        ((kind, bound),) = test["rule"].items()
        given = {n: v for n, v in test.items() if n not in ("name", "measure", "rule")}
        asked = {"test": test["name"], "rule": _rule(test["rule"])}
        try:
            effect = MEASURES[test["measure"]](column, bound if kind in ("above", "below") else None, **given)
            rows.append(_entry(claim, key, **asked, **vars(effect), verdict=verdict(effect, test["rule"])))
        except NotRunError as missing:
            rows.append(_entry(claim, key, **asked, verdict=MISSING, reason=str(missing)))
    return rows


def _rule(rule: Mapping[str, Any]) -> str:
    ((kind, bound),) = rule.items()
    if kind == "between":
        return f"between {bound[0]:g} and {bound[1]:g}"
    return f"as stated: {bound[0]:g}" if kind == "equals" else f"{kind} {bound:g}"


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each claim, a column for each model and task: the verdict on all its tests. A dagger marks one that rests on a test
    which would not survive Holm's correction over its column."""
    cells = {}
    for (name, *key), group in table.groupby(["id", *COLUMN], sort=False):
        weak = group.verdict.isin([HOLDS, FAILS]) & (group.p_holm >= 0.05)
        cells[name, _label(tuple(key))] = together(group.verdict.tolist()) + ("†" if weak.any() else "")
    labels = dict.fromkeys(_label(key) for key in table[COLUMN].itertuples(index=False, name=None))
    wide = pd.Series(cells).unstack().reindex(index=table.id.unique(), columns=sorted(labels, key=lambda n: n != PAPER[0]))
    return wide.fillna("–")


def _label(key: tuple[str, str, str]) -> str:
    model, benchmark, prompt = key
    return f"{model}, {benchmark}, {prompt}" if benchmark else model


def page(table: pd.DataFrame, claims: list[dict[str, Any]], runs: pd.DataFrame, folder: Path = RUNS) -> str:
    """The ledger as Markdown: the claims with their verdicts, each claim's tests with their numbers, the runs behind them."""
    wide = summary(table).reindex([claim["id"] for claim in claims]).fillna("–")
    idle = [column for column in wide if set(wide[column]) <= {MISSING, "–"}]
    wide = wide.drop(columns=idle)
    lines = [_head(table), _row(["", "claim", "where", *wide.columns, "notebook"]), _row(["---"] * (len(wide.columns) + 4))]
    for number, claim in enumerate(claims, 1):
        link = f"[{claim['title']}](#{claim['id']})"
        lines.append(_row([number, link, claim["where"], *wide.loc[claim["id"]], _notebook(claim)]))
    if idle:
        lines += ["", f"No column yet, for no claim has the runs that it asks for: {'; '.join(idle)}."]
    lines += ["", "## Claim by claim", ""]
    for number, claim in enumerate(claims, 1):
        lines += _section(number, claim, table[table.id == claim["id"]])
    return "\n".join([*lines, *_runs(table, runs, folder)]) + "\n"


def _head(table: pd.DataFrame) -> str:
    tested = table[table.p.notna()].drop_duplicates([*COLUMN, *SAME])
    decided, kept = tested[tested.verdict.isin([HOLDS, FAILS])], tested.p_holm < 0.05
    text = (DATA / "ledger.md").read_text(encoding="utf-8").rstrip()
    return (
        text.format(claims=table.id.nunique(), tests=len(tested), decided=len(decided), kept=int(kept[decided.index].sum()))
        + "\n"
    )


def _row(cells: list) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _notebook(claim: dict) -> str:
    return f"[{claim['notebook']}](../notebooks/{claim['notebook']}.ipynb)" if claim.get("notebook") else ""


def _section(number: int, claim: dict, rows: pd.DataFrame) -> list[str]:
    seen = f" Notebook: {_notebook(claim)}." if claim.get("notebook") else ""
    lines = [
        f'<a id="{claim["id"]}"></a>',
        "",
        f"### {number}. {claim['title']}",
        "",
        f"*{claim['where']}.* {claim['claim']}{seen}",
        "",
    ]
    if note := claim.get("note") or claim.get("reason"):
        lines += [note if claim.get("tests") else f"**Not tested.** {note}", ""]
    done = rows[rows.n.notna()]
    if len(done):
        names = ["where", "test", "holds if", "n", "measured [95 %]", "from", "tokens a problem", "p (Holm)", "verdict"]
        lines += [_row(names), _row(["---"] * len(names))]
        lines += [_line(row) for row in done.itertuples()]
        lines.append("")
    for key, group in rows[rows.verdict == MISSING].groupby(COLUMN, sort=False):
        lines += [f"Not yet run, {_label(key)}: {'; '.join(dict.fromkeys(group.reason))}.", ""]
    return lines


def _line(row: Any) -> str:
    exact = row.low == row.high
    digits, sign = (0 if row.unit == " problems" else 2 if row.model == PAPER[0] else 1), "+" if row.unit == " points" else ""
    digits = 2 if row.unit in (" times", " iterations") else digits
    value, low, high = (f"{number:{sign},.{digits}f}" for number in (row.value, row.low, row.high))
    measured = f"{value}{row.unit}" if exact else f"{value}{row.unit} [{low}, {high}]"
    chance = "" if row.p is None or row.p != row.p else f"{row.p:.1g} ({row.p_holm:.1g})"
    where = _label((row.model, row.benchmark, row.prompt))
    return _row([where, row.test, row.rule, f"{row.n:.0f}", measured, row.solved, row.tokens, chance, row.verdict])


def _runs(table: pd.DataFrame, runs: pd.DataFrame, folder: Path) -> list[str]:
    used = {run for names in table.runs.dropna() for run in names}
    lines = [
        "## The runs",
        "",
        "Under `data/runs/`, with answer + verdict tokens a problem; shards of one run are listed as one.",
        "",
    ]
    names = [
        "run",
        "model",
        "benchmark",
        "split",
        "method",
        "n",
        "solved [95 %]",
        "tokens",
        "date",
        "commit",
        "device",
        "weights",
    ]
    lines += [_row(names), _row(["---"] * len(names))]
    for run, rows in runs[runs.run.isin(used)].groupby("run", sort=True):
        parts = origins([str(path) for pattern in ("", ".zip", ".*-of-*") for path in folder.glob(run + pattern)])
        low, high = interval(rows.correct)
        first, origin = rows.iloc[0], parts.iloc[0]
        task = [f"`{run}`", first.model, f"{first.benchmark}, {first.prompt}", first.split, _way(first)]
        solved = [len(rows), f"{rows.correct.mean():.1%} [{low:.1%}, {high:.1%}]", tokens_of(rows)]
        lines.append(_row([*task, *solved, origin.date, origin.commit, origin.device, origin.weights]))
    return lines


def _way(row: pd.Series) -> str:
    """How a run answers, for a table."""
    size = {"K": row.max_iterations} if row.method == "latentseek" else {}
    size |= {"N": row.n_samples} if row.method in ("best_of_n", "self_consistency") else {}
    return name_of({name: row[name] for name in ("method", "variant", "reward")} | size)


def write_ledger(out: Path, runs: Path = RUNS, claims: Path = CLAIMS) -> list[Path]:
    """Writes the page and, beside it, its rows as CSV; returns both paths."""
    asked = read_claims(claims)
    rows = read_runs(runs)
    table = ledger(rows, asked)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(table, asked, rows, runs), encoding="utf-8")
    table = table.assign(runs=[" ".join(used or ()) for used in table.runs], p_holm=table.p_holm.astype(float))
    table.to_csv(out.with_suffix(".csv"), index=False, float_format="%.6g")
    return [out, out.with_suffix(".csv")]
