"""The ledger: measurements by hand, verdicts by rule, a page that is what the command makes."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from latentseek_core import load_runs
from latentseek_core.stats import bootstrap_difference, interval
from latentseek_core.tools.ledger import (
    FAILS,
    HOLDS,
    MISSING,
    OPEN,
    PART,
    UNTESTED,
    ledger,
    page,
    read_claims,
    read_runs,
    summary,
    together,
    verdict,
    write_ledger,
)
from latentseek_core.tools.measures import MEASURES, SETTINGS, Column, Effect, NotRunError, Seen

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "data" / "runs"
BASE = {"reward": "", "variant": "", "rho": 0.1, "learning_rate": 0.03, "max_iterations": 10, "n_samples": 3, "temperature": 1.0}
TASK = {"model": "m", "benchmark": "b", "prompt": "boxed", "split": "test", "budgeted": False, "reward_threshold": -0.2}


def made_up(run, method, right, n=40, steps=None, **settings):
    """A run as `read_runs` gives it: the problems in `right` are solved."""
    values = dict.fromkeys(SETTINGS) | BASE | TASK | settings
    rows = []
    for i in range(n):
        trace = steps(i) if steps else [Seen(i in right, None, "First add. 5.", 20, 4)]
        spent = {"answer_tokens": sum(s.answer_tokens for s in trace), "verifier_tokens": sum(s.verifier_tokens for s in trace)}
        rows.append(
            {"run": run, "method": method, "problem_id": f"p{i:02}", "correct": trace[-1].correct, "n_iterations": len(trace) - 1}
        )
        rows[-1] |= values | spent | {"trace": trace, "text": trace[-1].text}
    return pd.DataFrame(rows).assign(settings="|".join(repr(values[name]) for name in SETTINGS))


def search(i):
    """Twenty right at once; ten mended in the second iteration, with a strange word; ten never."""
    first = Seen(i < 20, -0.5 * (i >= 20), "First add. 5.", 20, 4)
    if i < 20:
        return [first]
    return [first, Seen(False, -0.9, "Pirst add. 6.", 10, 4), Seen(i < 30, -0.3, "Pirst add. 7.", 10, 4)]


SELF = made_up("m/self", "latentseek", (), steps=search, reward="self")
COT = made_up("m/cot", "cot", range(20))
DIFFERENCE = {"name": "d", "measure": "difference", "of": {"method": "latentseek", "reward": "self"}, "minus": {"method": "cot"}}
CLAIM = {"id": "gain", "title": "Gain", "claim": "It gains.", "where": "abstract", "tests": [DIFFERENCE | {"rule": {"above": 0}}]}


def one(name, column, bound=0, **given):
    return MEASURES[name](column, bound, **given)


@pytest.fixture
def column():
    return Column(pd.concat([SELF, COT], ignore_index=True))


def test_a_difference_is_that_of_the_problems_both_answered(column):
    found = one("difference", column, of=DIFFERENCE["of"], minus=DIFFERENCE["minus"])
    first, second = COT.correct.to_numpy(float), SELF.correct.to_numpy(float)
    expected = bootstrap_difference(100 * first, 100 * second, n_resamples=2000, method="percentile")
    assert (found.n, found.value, found.low, found.high) == (40, *map(pytest.approx, expected))
    assert found.value == 25
    assert found.p == pytest.approx(binomtest(10, 10).pvalue)
    assert found.solved == "75.0% against 50.0%"
    assert found.tokens == "30 + 8 against 20 + 4"
    assert found.runs == ("m/cot", "m/self")


def test_a_search_as_it_stood_after_k_iterations_costs_what_it_had_cost(column):
    for at, value, tokens in ((0, 0, "20 + 4"), (1, 0, "25 + 6"), (2, 25, "30 + 8")):
        found = one("difference", column, of=DIFFERENCE["of"] | {"at": at}, minus={"method": "cot"})
        assert (found.value, found.tokens) == (value, f"{tokens} against 20 + 4")
    best = one("difference", column, of=DIFFERENCE["of"] | {"at": "best"}, minus=DIFFERENCE["of"])
    assert best.value == 0


def test_tokens_are_those_of_the_problems_both_answered():
    """The chain of thought also answered others, of fewer and fewer tokens."""
    longer = COT.assign(answer_tokens=range(40, 0, -1))
    found = one("difference", Column(pd.concat([SELF.head(20), longer])), of=DIFFERENCE["of"], minus=DIFFERENCE["minus"])
    assert (found.n, found.tokens.split(" against ")[1]) == (20, f"{np.mean(range(40, 20, -1)):.0f} + 4")


def test_other_measurements(column):
    own = {"method": "latentseek", "reward": "self"}
    assert one("mean", column, of=own, quantity="iterations").value == 1
    assert one("mean", column, 3, of=own, quantity="iterations").p < 1e-6
    ratio = one("ratio", column, of=own, over={"method": "cot"}, quantity="tokens")
    assert ratio.value == pytest.approx(38 / 24)
    assert ratio.low < ratio.value < ratio.high
    mended = one("share", column, of=own, flag="wrong at first, right in the end")
    assert (mended.n, mended.value) == (20, 50)
    assert (mended.low / 100, mended.high / 100) == pytest.approx(interval([True] * 10 + [False] * 10))
    assert one("share", column, of=own, flag="right at first, wrong in the end").value == 0
    strange = one("share", column, of=own, flag="strange opening")
    assert (strange.n, strange.value) == (20, 100)  # "pirst" stands in no answer without a search
    agrees = one("share", column, of=own, flag="verdict agrees")
    assert (agrees.n, agrees.value) == (20 + 3 * 20, pytest.approx(100 * (20 + 20 + 20 + 10) / 80))


def test_runs_are_chosen_by_what_they_are_not_by_their_names():
    other = made_up("zzz", "latentseek", range(5), reward="self", rho=0.8, n=60)
    far = made_up("far", "latentseek", range(40), reward="self", max_iterations=256)
    tune = made_up("tune", "latentseek", range(40), reward="self", split="tune", n=90)
    usual = made_up("usual", "latentseek", range(30), reward="psrm", n=80)
    column = Column(pd.concat([SELF, COT, other, far, tune, usual], ignore_index=True))
    pick = {"method": "latentseek", "reward": "self"}
    assert set(column.select(pick).run) == {"m/self"}
    assert set(column.select(pick | {"rho": 0.8}).run) == {"zzz"}
    assert set(column.select(pick | {"max_iterations": 256}).run) == {"far"}
    assert set(column.select(pick | {"split": "tune"}).run) == {"tune"}
    with pytest.raises(NotRunError, match=r"latentseek random self"):
        column.select(pick | {"variant": "random"})


def test_seeds_count_together():
    seeds = [made_up(f"r{s}", "latentseek", range(10 * s, 40), variant="random", reward="self", seed=s) for s in range(3)]
    column = Column(pd.concat([SELF, COT, *seeds], ignore_index=True))
    found = one("difference", column, of={"method": "latentseek", "variant": "random"}, minus={"method": "cot"})
    assert found.n == 40
    assert found.value == pytest.approx(100 * (np.mean([1, 0.75, 0.5]) - 0.5))
    assert found.runs == ("m/cot", "r0", "r1", "r2")


def effect(low, high, p=0.001, value=None):
    return Effect(100, (low + high) / 2 if value is None else value, low, high, "", p)


@pytest.mark.parametrize(
    ("measured", "rule", "expected"),
    [
        (effect(1, 3), {"above": 0}, HOLDS),
        (effect(1, 3, p=0.2), {"above": 0}, OPEN),  # an interval alone is not enough where few problems differ
        (effect(-1, 3), {"above": 0}, OPEN),
        (effect(-3, -1), {"above": 0}, FAILS),
        (effect(0, 0, p=1.0), {"above": 0}, OPEN),
        (effect(1, 2), {"below": 3}, HOLDS),
        (effect(4, 5), {"below": 3}, FAILS),
        (effect(-1, 1, p=None), {"between": [-2, 2]}, HOLDS),
        (effect(-1, 3, p=None), {"between": [-2, 2]}, OPEN),
        (effect(3, 4, p=None), {"between": [-2, 2]}, FAILS),
        (effect(0, 9, value=4.7), {"equals": [4.73, 0.05]}, HOLDS),
        (effect(0, 9, value=5.5), {"equals": [4.73, 0.05]}, FAILS),
    ],
)
def test_the_rule_gives_the_verdict(measured, rule, expected):
    assert verdict(measured, rule) == expected


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, FAILS], PART),
        ([HOLDS, OPEN], PART),
        ([FAILS, OPEN], FAILS),
        ([OPEN], OPEN),
        ([MISSING, MISSING], MISSING),
        ([HOLDS, MISSING], "holds (1 of 2 tests run)"),
        ([UNTESTED], UNTESTED),
    ],
)
def test_tests_together_give_the_claim_s_verdict(verdicts, expected):
    assert together(verdicts) == expected


def test_other_runs_another_verdict():
    """The same claim on runs that say the opposite."""
    worse = COT.assign(correct=[i < 32 for i in range(40)])
    for cot, expected in ((COT, HOLDS), (worse, OPEN), (COT.assign(correct=True), FAILS)):
        table = ledger(pd.concat([SELF, cot], ignore_index=True), [CLAIM])
        assert summary(table).loc["gain", "m, b, boxed"] == expected


def test_a_new_model_is_a_new_column_and_what_it_lacks_is_said():
    second = SELF.assign(model="hub/other", benchmark="gsm8k", run="other")
    claims = [CLAIM, {"id": "why", "title": "Why", "claim": "It is so.", "where": "C", "reason": "A theorem."}]
    rows = pd.concat([SELF, COT, second], ignore_index=True)
    table = ledger(rows, claims)
    wide = summary(table)
    assert list(wide.loc["gain"]) == ["–", MISSING, HOLDS]
    assert list(wide.columns) == ["the paper's tables", "hub/other, gsm8k, boxed", "m, b, boxed"]
    assert wide.loc["why", "the paper's tables"] == UNTESTED
    only = ledger(rows, [CLAIM | {"on": {"benchmark": ["gsm8k"]}}])
    assert "m, b, boxed" not in summary(only).columns


def test_many_tests_are_corrected_for_and_a_shared_one_counts_once():
    again = CLAIM | {"id": "again"}
    weak = COT.assign(run="weak", method="few_shot", correct=[i < 23 or i in (35, 36) for i in range(40)])
    other = {
        "id": "weak",
        "tests": [DIFFERENCE | {"minus": {"method": "few_shot"}, "rule": {"above": 0}}],
        "title": "",
        "claim": "",
        "where": "",
    }
    table = ledger(pd.concat([SELF, COT, weak], ignore_index=True), [CLAIM, again, other]).set_index("id")
    assert table.p_holm["gain"] == table.p_holm["again"] == pytest.approx(2 * table.p["gain"])
    assert table.p_holm["weak"] == pytest.approx(table.p["weak"])


def test_claims_are_complete():
    claims = read_claims()
    assert len(claims) >= 30
    assert {"title", "claim", "where"} <= set.intersection(*map(set, claims))
    where = " ".join(claim["where"] for claim in claims)
    for part in (
        "abstract",
        "3.2",
        "3.3",
        "3.4",
        "3.5",
        "3.6",
        *(f"appendix {x}" for x in "ACDGH"),
        "E.1",
        "E.2",
        "E.3",
        "E.4",
        "E.5",
        "E.6",
    ):
        assert part in where, part
    for number in (1, 2, 3, 5, 6, 7, 8, 13):
        assert any(f"Table {number} " in c["where"] or f"Tables {number} " in c["where"] for c in claims), number


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("- {id: a, reason: x}\n- {id: a, reason: y}", "two claims 'a'"),
        ("- {id: a}", "neither tests nor a reason"),
        ("- {id: a, tests: [{measure: guess, rule: {above: 0}}]}", "unknown measure 'guess'"),
        ("- {id: a, tests: [{measure: mean, rule: {over: 0}}]}", "a rule is above, below, between or equals"),
    ],
)
def test_a_claim_that_is_not_well_formed_is_refused(change, said, tmp_path):
    (tmp_path / "claims.yaml").write_text(change)
    with pytest.raises(ValueError, match=said):
        read_claims(tmp_path / "claims.yaml")


def test_few_problems_without_a_difference_prove_no_equality():
    rows = pd.concat([made_up("a", "cot", range(9)), made_up("b", "few_shot", range(9))], ignore_index=True)
    found = one("difference", Column(rows), of={"method": "few_shot"}, minus={"method": "cot"})
    assert found.value == 0
    assert found.high == -found.low == pytest.approx(100 * (1 - 0.025 ** (1 / 40)))
    assert verdict(found, {"between": [-2, 2]}) == OPEN


def test_runs_are_read_wherever_they_lie():
    with pytest.raises(ValueError, match="there is no folder nowhere to look for runs in"):
        read_runs(Path("nowhere"))
    place = "tiny-gsm-tune/tiny-qwen2-1.8m"
    rows = read_runs(RUNS / "tiny-gsm-tune")
    assert len(rows) == sum(len(load_runs(path)) for path in (RUNS / "tiny-gsm-tune").glob("*/*.zip"))
    known = load_runs(RUNS / place / "latentseek-self-rho0.1-eta0.03")
    found = rows[rows.run == "tiny-qwen2-1.8m/latentseek-self-rho0.1-eta0.03"]
    assert found.correct.tolist() == known.correct.tolist()
    assert [len(trace) for trace in found.trace] == [len(steps) for steps in known.steps]
    assert not len(ledger(rows, [CLAIM]))  # what settings were chosen by is no test of a claim


def test_an_unfinished_run_is_left_out(tmp_path):
    with zipfile.ZipFile(RUNS / "tiny-gsm-tune" / "tiny-qwen2-1.8m" / "cot--rho0.2-eta0.03.zip") as packed:
        packed.extractall(tmp_path / "cot")
    assert len(read_runs(tmp_path)) == 200
    results = tmp_path / "cot" / "results.jsonl"
    results.write_text("".join(results.read_text().splitlines(keepends=True)[:150]))
    assert not len(read_runs(tmp_path))


def test_an_empty_folder_has_the_paper_s_own_column(tmp_path):
    claims, rows = read_claims(), read_runs(tmp_path)
    table = ledger(rows, claims)
    wide = summary(table)
    assert list(wide.columns) == ["the paper's tables"]
    own = wide["the paper's tables"].str.rstrip("†")
    assert list(own[["gsm8k", "aime2024", "oracle-self", "theory", "flops"]]) == [HOLDS, PART, PART, UNTESTED, PART]
    text = page(table, claims, rows, tmp_path)
    assert all(f"### {number}. {claim['title']}" in text for number, claim in enumerate(claims, 1))


@pytest.mark.slow
def test_a_model_with_the_chain_of_thought_alone_has_no_column_and_is_named(tmp_path):
    claims, rows = read_claims(), read_runs(RUNS)
    alone = rows[(rows.model == "smollm2-135m") & (rows.method == "cot")]
    table = ledger(alone, claims)
    assert "smollm2-135m, gsm-symbolic, boxed" in summary(table)
    head, _, rest = page(table, claims, alone, tmp_path).partition("No column yet, ")
    assert rest.splitlines()[0].endswith("asks for: smollm2-135m, gsm-symbolic, boxed.")
    assert "smollm2-135m, gsm-symbolic, boxed" not in head
    assert "the paper's tables" in head


def mapped() -> dict[str, list[str]]:
    """README's map: what of the paper, and the notebooks in the same row."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## The paper's tables, figures and claims\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {what: re.findall(r"\[`(\w+)`\]\(notebooks/\1\.ipynb\)", where) for what, where in rows[1:]}


@pytest.mark.parametrize("item", [*(f"Table {n}" for n in (1, 2, 6, 7, 8, 22)), *(f"Figure {n}" for n in (2, 3, 4, 5, 7))])
def test_readme_says_which_notebook_reruns_a_table_or_figure(item):
    assert [what for what, notebooks in mapped().items() if re.match(rf"{item}\b(?! of v3)", what) and notebooks]


@pytest.mark.parametrize("item", ["Section 3.5", "Appendix C", "Appendix D", "appendix G", "Appendix H"])
def test_readme_says_which_notebook_reruns_a_section(item):
    assert [what for what, notebooks in mapped().items() if item in what and notebooks]


def test_every_notebook_of_the_map_and_of_the_ledger_is_there():
    named = {name for names in mapped().values() for name in names} | {c["notebook"] for c in read_claims() if "notebook" in c}
    assert len(named) >= 15
    missing = [name for name in sorted(named) if not (ROOT / "notebooks" / f"{name}.ipynb").is_file()]
    assert not missing


@pytest.mark.slow
def test_the_committed_page_is_what_the_command_makes(tmp_path):
    for path in write_ledger(tmp_path / "ledger.md"):
        committed = ROOT / "book" / path.name
        assert path.read_text(encoding="utf-8") == committed.read_text(encoding="utf-8"), (
            f"make {committed} again: latentseek ledger"
        )
