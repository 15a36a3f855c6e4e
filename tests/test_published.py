"""The published tables and the recipes made from them: numbers given twice agree, and chosen cells are spelled out."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml

from latentseek_core import recipes
from latentseek_core.published import PUBLISHED_FOLDER, load_published, published_tables
from latentseek_core.recipes import published_accuracy, recipe, recipe_names

CELL = ["benchmark", "prompt", "method"]
QWEN, LLAMA = "Qwen/Qwen2.5-{}-Instruct", "meta-llama/Llama-3.1-8B-Instruct"


@pytest.mark.parametrize("name", published_tables())
def test_a_table_loads_and_says_where_it_is_from(name):
    table = load_published(name)
    assert len(table)
    assert not any(column.startswith(("#", "Unnamed")) for column in table.columns)
    assert re.match(r"arXiv \d{4}\.\d{5} ", table.attrs["source"])
    version = re.search(r"_(v\d)$", name)
    assert ("2505.13308" in table.attrs["source"]) == bool(version)
    assert not version or f"arXiv 2505.13308 {version[1]} (" in table.attrs["source"]
    number = re.match(r"table(\d+)_", name)
    assert not number or f"Table {number[1]}" in table.attrs["source"]
    assert f"| `{name}` |" in (PUBLISHED_FOLDER / "README.md").read_text()
    for column in (c for c in table.columns if c.endswith("_pct")):
        assert table[column].dropna().between(0, 100).all(), column


def test_all_tables_are_there():
    assert len(published_tables()) == 24
    assert load_published("table1_v1").attrs["source"] == "arXiv 2505.13308 v1 (May 2025), Table 1, six models"
    with pytest.raises(ValueError, match="unknown published table 'table9': use one of case_studies_v2, extreme_scaling_v1"):
        load_published("table9")
    with pytest.raises(ValueError, match="unknown published table"):
        load_published("../recipes")


@pytest.mark.parametrize("version", ["v1", "v3"])
def test_table1_s_averages(version):
    """Recomputed from the cells; those of v1 that the paper itself prints otherwise are named."""
    means = load_published(f"table1_{version}").groupby(CELL)["accuracy_pct"].mean()
    averages = load_published(f"table1_averages_{version}").set_index(CELL)
    assert len(averages) == len(means)
    assert (averages["average_of_cells_pct"] - means).abs().max() <= 0.0051
    off = averages["published_average_pct"] - means
    wrong = {index: value for index, value in averages["published_average_pct"].items() if abs(off[index]) > 0.011}
    slips = {("gsm8k", 1, "bon3"): 71.30, ("aime2024", 1, "latentseek_self"): 8.33, ("aime2024", 2, "latentseek_self"): 5.55}
    assert wrong == (slips if version == "v1" else {})


@pytest.mark.parametrize(
    "name", [n for n in published_tables() if "published_average_pct" in load_published(n) and "aver" not in n]
)
def test_averages_beside_the_cells(name):
    table = load_published(name)
    means = table.groupby([c for c in CELL if c in table])[["accuracy_pct", "published_average_pct"]].mean()
    assert (means["accuracy_pct"] - means["published_average_pct"]).abs().max() <= (0.051 if name == "table3_psrm_v3" else 0.011)


def test_the_statistics_averages():
    table = load_published("table8_statistics_v3")
    columns = ["answer_length_over_cot_length", "mean_iterations"]
    printed = table[table["model"] == "published average"].set_index(["benchmark", "prompt"])[columns]
    means = table[table["model"] != "published average"].groupby(["benchmark", "prompt"])[columns].mean()
    assert (printed - means).abs().max().max() <= 0.0051 + 1e-9


def test_the_oracle_s_table_is_the_mean_of_version_1_s_prompts():
    cells = load_published("table1_v1").query("method == 'latentseek_psrm' and model != 'Mistral-7B-Instruct'")
    means = cells.groupby(["benchmark", "model"])["accuracy_pct"].mean()
    table = (
        load_published("table3_psrm_v3").query("method == 'latentseek_psrm'").set_index(["benchmark", "model"])["accuracy_pct"]
    )
    assert len(table) == 15
    assert (table - means).abs().max() <= 0.051


def test_the_cells_that_moved_are_the_readme_s():
    old, new = (load_published(f"table1_{v}").set_index([*CELL, "model"])["accuracy_pct"] for v in ("v1", "v3"))
    both = pd.concat([old, new], axis=1, keys=["v1", "v3"]).dropna()
    moved = both[both["v1"] != both["v3"]]
    readme = (PUBLISHED_FOLDER / "README.md").read_text()
    rows = re.findall(r"^\| (?:GSM8K|MATH-500) \|.* \| ([\d.]+) \| ([\d.]+) \|$", readme, re.M)
    assert len(moved) == 7
    assert {(float(a), float(b)) for a, b in rows} == set(moved.itertuples(index=False, name=None))


def latentseek(model, benchmark, prompt, rho, learning_rate, reward="self", **more):
    return {
        "model": model,
        "benchmark": benchmark,
        "method": "latentseek",
        "reward": reward,
        "prompt": prompt,
        "rho": rho,
        "learning_rate": learning_rate,
        "max_iterations": 10,
        "optimizer": "adam",
        "max_new_tokens": 1024,
        "dtype": "bfloat16",
        **more,
    }


def other(model, benchmark, method, prompt, reward="", **more):
    fixed = {"max_new_tokens": 1024, "dtype": "bfloat16"}
    return {"model": model, "benchmark": benchmark, "method": method, "reward": reward, "prompt": prompt, **fixed, **more}


LIGHT_CALCULATION = {"answer_correct": 1, "understanding_check": 1, "calculation_check": 1, "answer_completeness": 2}
SPELLED_OUT = {
    "gsm8k-qwen2.5-7b-self-json": latentseek(QWEN.format("7B"), "gsm8k", "json", 0.2, 0.05),
    "gsm8k-qwen2.5-1.5b-self-json": latentseek(QWEN.format("1.5B"), "gsm8k", "json", 0.2, 10),
    "gsm8k-qwen2.5-1.5b-self-boxed": latentseek(
        QWEN.format("1.5B"), "gsm8k", "boxed", 0.05, 0.03, "self+format", format_penalty=2 / 6
    ),
    "gsm8k-llama-3.1-8b-self-boxed": latentseek(LLAMA, "gsm8k", "boxed", 0.2, 0.03, "self+format", format_penalty=3 / 6),
    "gsm8k-qwen2-7b-self-boxed": latentseek(
        "Qwen/Qwen2-7B-Instruct", "gsm8k", "boxed", 0.2, 0.03, "self+format", format_penalty=2 / 6
    ),
    "math500-qwen2-7b-self-boxed": latentseek(
        "Qwen/Qwen2-7B-Instruct",
        "math500",
        "boxed",
        0.1,
        0.03,
        "self+format",
        format_penalty=2 / 5,
        weights=LIGHT_CALCULATION,
    ),
    "math500-llama-3.1-8b-self-boxed": latentseek(
        LLAMA, "math500", "boxed", 0.1, 0.03, "self+format", format_penalty=2 / 5, weights=LIGHT_CALCULATION
    ),
    "math500-qwen2.5-1.5b-self-boxed": latentseek(
        QWEN.format("1.5B"), "math500", "boxed", 0.1, 0.03, "self+format", format_penalty=2 / 6
    ),
    "math500-qwen2.5-7b-self-boxed": latentseek(
        QWEN.format("7B"), "math500", "boxed", 0.1, 0.03, "self+format", format_penalty=2 / 6
    ),
    "math500-qwen2.5-14b-self-json": latentseek(QWEN.format("14B"), "math500", "json", 0.1, 0.05),
    "aime2024-qwen2.5-1.5b-self-json": latentseek(QWEN.format("1.5B"), "aime2024", "json", 0.3, 10),
    "aime2024-llama-3.1-8b-self-json": latentseek(LLAMA, "aime2024", "json", 0.2, 0.03),
    "aime2024-qwen2.5-7b-psrm-json": latentseek(QWEN.format("7B"), "aime2024", "json", 0.2, 0.05, "psrm"),
    "gsm8k-llama-3.1-8b-psrm-boxed": latentseek(LLAMA, "gsm8k", "boxed", 0.2, 0.03, "psrm"),
    "gsm8k-llama-3.1-8b-best_of_n-boxed": other(
        LLAMA, "gsm8k", "best_of_n", "boxed", "self+format", n_samples=3, format_penalty=3 / 6
    ),
    "math500-llama-3.1-8b-best_of_n-boxed": other(
        LLAMA, "math500", "best_of_n", "boxed", "self+format", n_samples=3, format_penalty=2 / 5, weights=LIGHT_CALCULATION
    ),
    "math500-qwen2.5-14b-best_of_n-json": other(QWEN.format("14B"), "math500", "best_of_n", "json", "self", n_samples=3),
    "aime2024-qwen2-7b-cot-json": other("Qwen/Qwen2-7B-Instruct", "aime2024", "cot", "json"),
    "gsm8k-qwen2.5-7b-self_consistency-json": other(QWEN.format("7B"), "gsm8k", "self_consistency", "json", n_samples=3),
    "math500-qwen2.5-7b-self_reflection-boxed": other(QWEN.format("7B"), "math500", "self_reflection", "boxed"),
}


@pytest.mark.parametrize("name", SPELLED_OUT)
def test_recipes_spelled_out(name):
    assert recipe(f"table1/{name}") == SPELLED_OUT[name]


def test_every_recipe_resolves_into_plain_values():
    names = recipe_names("table1/*")
    assert len(names) == 3 * 5 * 6 * 2
    checks = yaml.safe_load((Path(recipes.__file__).parent / "prompts" / "verifiers.yaml").read_text())["checks"]
    assert {name: check["weight"] for name, check in checks.items()} == recipes.USUAL_WEIGHTS
    with_format = set()
    for name in names:
        values = recipe(name)
        assert yaml.safe_load(yaml.safe_dump(values)) == values, name
        assert ("format_penalty" in values) == (values["reward"] == "self+format"), name
        assert set(values.get("weights", checks)) == set(checks), name
        if "format_penalty" in values:
            with_format.add(name)
    # Seven rows of the table of weights, each for the search and for Best-of-N.
    assert len(with_format) == 14
    assert all(name.endswith("boxed") for name in with_format)


def test_names_by_pattern():
    assert recipe_names("table1/gsm8k-qwen2-7b-*-json") == sorted(f"table1/gsm8k-qwen2-7b-{w}-json" for w in recipes.WHATS)
    assert recipe_names("nothing*") == []


def test_recipes_from_files(tmp_path, monkeypatch):
    (tmp_path / "tiny-gsm").mkdir()
    (tmp_path / "tiny-gsm" / "self.yaml").write_text("model: tiny-qwen2-1.8m\nbenchmark: tiny-gsm\nrho: 0.5\n")
    (tmp_path / "empty.yaml").write_text("")
    monkeypatch.setattr(recipes, "RECIPES_FOLDER", tmp_path)
    assert recipe_names("[!t]*") + recipe_names("tiny*") == ["empty", "tiny-gsm/self"]
    assert recipe("tiny-gsm/self") == {"model": "tiny-qwen2-1.8m", "benchmark": "tiny-gsm", "rho": 0.5}
    assert published_accuracy("tiny-gsm/self") is None
    with pytest.raises(ValueError, match="holds no settings"):
        recipe("empty")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("table1/gsm8k-mistral-7b-self-json", "hyperparameters of Mistral-7B-Instruct are in no source"),
        ("table1/aime2024-qwen3-4b-self-boxed", "hyperparameters of Qwen3-4B-Instruct-2507 are in no source"),
        ("table1/gsm8k-qwen2.5-7b-self-jason", "did you mean table1/gsm8k-qwen2.5-7b-self-json"),
        ("gsm8k-qwen2.5-7b-self-json", "did you mean table1/gsm8k-qwen2.5-7b-self-json"),
        ("table1/gsm8k-llama-2-7b-self-json", "did you mean table1/gsm8k-llama-3.1-8b-self-json"),
        ("??", "recipe_names"),
    ],
)
def test_unknown_names_are_refused_in_one_sentence(name, said):
    for function in (recipe, published_accuracy):
        with pytest.raises(ValueError, match=re.escape(said)) as error:
            function(name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "v1", "v3"),
    [
        ("gsm8k-qwen2.5-7b-self-boxed", 89.46, 90.14),
        ("gsm8k-qwen2.5-7b-self-json", 85.06, 85.06),
        ("gsm8k-qwen2.5-1.5b-best_of_n-json", 8.49, 6.14),
        ("math500-qwen2.5-1.5b-cot-json", 27.60, 29.40),
        ("aime2024-qwen2.5-14b-psrm-json", 23.33, None),
        ("gsm8k-llama-3.1-8b-self_consistency-boxed", None, 55.34),
        ("math500-qwen2.5-1.5b-self_reflection-json", None, 32.20),
        ("aime2024-qwen2-7b-cot-boxed", 0.0, 0.0),
    ],
)
def test_the_printed_figure_of_a_recipe(name, v1, v3):
    assert published_accuracy(f"table1/{name}", "v1") == v1
    assert published_accuracy(f"table1/{name}") == v3


def test_every_cell_of_version_3_has_its_recipe():
    figures = [published_accuracy(name) for name in recipe_names("table1/*")]
    assert sorted(f for f in figures if f is not None) == sorted(
        load_published("table1_v3").query("method not in ['sft', 'sft_magpie25k', 'icot']")["accuracy_pct"]
    )
    with pytest.raises(ValueError, match="unknown version 'v2'"):
        published_accuracy("table1/gsm8k-qwen2-7b-cot-json", "v2")
