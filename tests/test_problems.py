"""Benchmarks from every container, damage repaired and nothing else touched, and one sentence for whatever is wrong.

The real files are not part of the repository; without them the tests that read them are skipped.
"""

import json
import logging
import math
import socket
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import datasets
import pandas as pd
import pytest

from latentseek_core import hub, load_benchmark, problems

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the benchmark files are not here")

GSM8K = [{"question": f"How many are {n} and 1?", "answer": f"{n}+1=<<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"} for n in range(5)]
TRAIN = [{"question": f"How many are {n} and 2?", "answer": f"It is {n + 2}.\n#### {n + 2}"} for n in range(7)]
MATH = [{"problem": "Add $1$ and $1$.", "solution": "$\\boxed{2}$", "answer": "2", "subject": "Algebra", "level": 3,
         "unique_id": "test/algebra/1.json"}]  # fmt: skip
AIME = [{"ID": "2024-I-1", "Problem": "Find $n$.", "Solution": "It is 204.", "Answer": 204}]


def write(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def save(folder: Path, splits: dict[str, list[dict]]) -> Path:
    datasets.DatasetDict({name: datasets.Dataset.from_list(rows) for name, rows in splits.items()}).save_to_disk(str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    problems._say_once.cache_clear()


# --- the real files ---


@needs_real
@pytest.mark.parametrize(("name", "rows", "first", "answer", "columns"), [
    ("gsm8k", 1319, "gsm8k-0", "18", ("question", None)),
    ("math500", 500, "test/precalculus/807.json", "\\left( 3, \\frac{\\pi}{2} \\right)", ("problem", "answer")),
    ("aime2024", 30, "2024-II-4", "33", ("Problem", "Answer")),
])  # fmt: skip
def test_real_benchmarks_are_read_whole_and_word_for_word(name, rows, first, answer, columns):
    read = load_benchmark(REAL / name)
    assert read == load_benchmark(REAL / name / "test.jsonl")
    assert (len(read), read[0].id, read[0].answer, {p.benchmark for p in read}) == (rows, first, answer, {name})
    lines = [json.loads(line) for line in (REAL / name / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    damaged = {"2024-I-1", "2024-I-15", "2024-II-8"}
    for problem, line in zip(read, lines, strict=True):
        assert (problem.question == line[columns[0]]) == (problem.id not in damaged)
        assert columns[1] is None or problem.answer == str(line[columns[1]])
        assert problem.solution in line.get("solution", line.get("Solution", line.get("answer")))


@needs_real
def test_known_rows_of_the_real_files():
    gsm8k, train = load_benchmark(REAL / "gsm8k"), load_benchmark(REAL / "gsm8k", split="train")
    assert len(train) == 2000
    assert not {p.id for p in gsm8k} & {p.id for p in train}
    assert "Janet" in gsm8k[0].question
    assert sum("," in p.answer for p in gsm8k) == 14
    assert sorted(p.answer for p in gsm8k if p.answer.startswith("-")) == ["-10", "-3"]
    assert {p.id: p.answer for p in load_benchmark(REAL / "aime2024")}["2024-I-1"] == "204"
    groups = [p.group.split(", level ") for p in load_benchmark(REAL / "math500")]
    assert Counter(level for _, level in groups) == {"1": 43, "2": 90, "3": 105, "4": 128, "5": 134}
    assert Counter(subject for subject, _ in groups)["Counting & Probability"] == 38


@needs_real
def test_aime_is_repaired_and_that_is_said_once(caplog):
    with caplog.at_level(logging.WARNING):
        read = {p.id: p.question for p in load_benchmark(REAL / "aime2024")}
        load_benchmark(REAL / "aime2024")
    assert "$s+\\frac{1}{2}$" in read["2024-I-1"]
    assert "$\\frac{p}{q}$" in read["2024-I-15"]
    assert "$\\tfrac{m}{n}$" in read["2024-II-8"]
    assert [r.message.count("\n") for r in caplog.records] == [0]
    assert caplog.records[0].message.endswith("repaired in 2024-I-1, 2024-I-15, 2024-II-8")


# --- containers ---


@pytest.mark.parametrize("name", [
    "test.jsonl", "test.json", "test.parquet", "test-00000-of-00001.parquet", "main/test-00000-of-00001.parquet",
    "data/test-00000-of-00001.parquet",
])  # fmt: skip
def test_a_split_is_found_in_a_folder_and_beside_a_file(name, tmp_path):
    file = write(tmp_path / name, GSM8K)
    write(tmp_path / name.replace("test", "train"), TRAIN)
    for source in (file, tmp_path, str(tmp_path)):
        test, train = load_benchmark(source), load_benchmark(source, split="train")
        assert [p.id for p in test] == [f"gsm8k-{n}" for n in range(5)]
        assert [p.answer for p in test] == ["1", "2", "3", "4", "5"]
        assert test[0].solution == "0+1=<<0+1=1>>1"
        assert [p.id for p in train] == [f"gsm8k-train-{n}" for n in range(7)]
    # A file is itself, whatever the split; its ids tell that it is the train split.
    assert load_benchmark(file.with_name(file.name.replace("test", "train"))) == train


def test_numbered_parts_are_joined_and_a_missing_one_is_named(tmp_path):
    write(tmp_path / "data" / "test-00000-of-00002.parquet", GSM8K[:2])
    with pytest.raises(ValueError, match=r"holds 1 of the parts of test-00000-of-00002.parquet"):
        load_benchmark(tmp_path)
    write(tmp_path / "data" / "test-00001-of-00002.parquet", GSM8K[2:])
    assert load_benchmark(tmp_path) == load_benchmark(write(tmp_path / "whole.jsonl", GSM8K))


def test_a_folder_saved_by_datasets(tmp_path):
    both = save(tmp_path / "both", {"test": GSM8K, "train": TRAIN})
    assert load_benchmark(both) == load_benchmark(write(tmp_path / "a.jsonl", GSM8K))
    assert load_benchmark(both, split="train")[0].id == "gsm8k-train-0"
    with pytest.raises(ValueError, match="has no split 'tune'; it has test, train"):
        load_benchmark(both, split="tune")
    datasets.Dataset.from_list(MATH).save_to_disk(str(tmp_path / "single"))
    (problem,) = load_benchmark(tmp_path / "single")
    assert (problem.id, problem.group, problem.benchmark) == ("test/algebra/1.json", "Algebra, level 3", "math500")
    with pytest.raises(ValueError, match="no split 'train'"):
        load_benchmark(tmp_path / "single", split="train")
    (tmp_path / "single" / "state.json").write_text("{")
    with pytest.raises(ValueError, match="can't be read as a saved datasets folder"):
        load_benchmark(tmp_path / "single")


def test_the_train_split_of_aime_alone_stands_for_test(tmp_path):
    """On the hub its only split is called so, and its only file `aime_2024_problems.parquet`."""
    write(tmp_path / "a" / "aime_2024_problems.parquet", AIME)
    write(tmp_path / "b" / "train.jsonl", AIME)
    for folder in (tmp_path / "a", tmp_path / "b", save(tmp_path / "c", {"train": AIME})):
        (problem,) = load_benchmark(folder)
        assert (problem.id, problem.answer, problem.benchmark) == ("2024-I-1", "204", "aime2024")
    write(tmp_path / "d" / "train.jsonl", TRAIN)
    for folder in (tmp_path / "d", save(tmp_path / "e", {"train": TRAIN})):
        with pytest.raises(ValueError, match="holds no test.jsonl|no split 'test'; it has train"):
            load_benchmark(folder)


def test_our_own_columns_shuffling_and_limits(tmp_path):
    rows = [{"id": n, "question": f"{n}?", "answer": n, "benchmark": "mine", "group": "easy"} for n in range(20)]
    read = load_benchmark(write(tmp_path / "own.jsonl", rows))
    assert (read[3].id, read[3].answer, read[3].benchmark, read[3].group, read[3].solution) == ("3", "3", "mine", "easy", "")
    shuffled = load_benchmark(tmp_path / "own.jsonl", seed=1)
    assert shuffled != read
    assert sorted(shuffled, key=lambda p: int(p.id)) == read
    assert load_benchmark(tmp_path / "own.jsonl", seed=1, limit=4) == shuffled[:4]
    # GSM8K with ids added keeps its kind of answer.
    (problem,) = load_benchmark(write(tmp_path / "ids.jsonl", [GSM8K[0] | {"id": "a"}]))
    assert (problem.id, problem.answer) == ("a", "1")


# --- the hub ---


def hub_of(monkeypatch, rows: list[dict]) -> list[tuple]:
    """A hub that has these rows under any name; returns the list of what it is asked for."""
    asked = []

    def load_dataset(path, name=None, split=None):
        asked.append((path, name, split, datasets.config.HF_HUB_OFFLINE))
        return datasets.Dataset.from_list(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


@pytest.mark.parametrize(("name", "split", "rows", "asked", "first"), [
    ("gsm8k", "test", GSM8K, ("openai/gsm8k", "main", "test"), "gsm8k-0"),
    ("gsm8k", "train", TRAIN, ("openai/gsm8k", "main", "train"), "gsm8k-train-0"),
    ("openai/gsm8k", "test", GSM8K, ("openai/gsm8k", "main", "test"), "gsm8k-0"),
    ("math500", "test", MATH, ("HuggingFaceH4/MATH-500", None, "test"), "test/algebra/1.json"),
    ("aime2024", "test", AIME, ("Maxwell-Jia/AIME_2024", None, "train"), "2024-I-1"),
    ("maxwell-jia/aime_2024", "test", AIME, ("Maxwell-Jia/AIME_2024", None, "train"), "2024-I-1"),
    ("someone/like-gsm8k", "test", GSM8K, ("someone/like-gsm8k", None, "test"), "gsm8k-0"),
])  # fmt: skip
def test_hub_names_ask_for_the_right_data(name, split, rows, asked, first, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    calls = hub_of(monkeypatch, rows)
    assert load_benchmark(name, split=split)[0].id == first
    assert [call[:3] for call in calls] == [asked]


def test_what_lies_here_goes_before_the_hub(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "gsm8k" / "test.jsonl", GSM8K[:2])
    assert len(load_benchmark("gsm8k")) == 2


@pytest.mark.parametrize(("name", "split", "said"), [
    ("aime2024", "train", "benchmark 'aime2024' has no split 'train'; it has test"),
    ("gsm8k", "tune", "benchmark 'gsm8k' has no split 'tune'; it has test, train"),
    ("gsm9k", "test", "unknown benchmark 'gsm9k': use one of .*gsm8k, math500, aime2024, gsm-symbolic"),
    ("no/such.jsonl", "test", "there is no benchmark file no/such.jsonl"),
])  # fmt: skip
def test_unknown_names_and_splits(name, split, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said):
        load_benchmark(name, split=split)


@pytest.mark.parametrize(("name", "said"), [
    ("gsm8k", "openai/gsm8k can't be had from the hub"), ("some/data", "some/data is no file or folder here and can't be had"),
])  # fmt: skip
def test_offline_a_sentence_says_how_to_get_the_file_here(name, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said) as caught:
        load_benchmark(name)
    assert "hf download --repo-type dataset" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not datasets.config.HF_HUB_OFFLINE


def test_a_silent_hub_is_not_waited_for(monkeypatch, tmp_path):
    """The connection is taken and never answered: `datasets` is told to look in its cache alone, and set back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "PATIENCE", 0.2)
    calls = hub_of(monkeypatch, GSM8K)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        load_benchmark("gsm8k")
    assert calls[0][3] is True
    assert not datasets.config.HF_HUB_OFFLINE
    monkeypatch.setattr(hub, "answers", lambda: True)
    load_benchmark("gsm8k")
    assert calls[1][3] is False


# --- what is wrong is said ---


@pytest.mark.parametrize(("text", "said"), [
    ("", "bad.jsonl is empty"),
    ("\n\n", "bad.jsonl is empty"),
    ('{"question": "a?"}', r"line 1: not a problem \(its columns are question; a problem needs id, question and answer"),
    ('{"question": "a?", "answer": "#### 1"}\n{"question"', r"line 2: not a problem \(bad JSON: .* at column 12"),
    ('{"question": "a?", "answer": "#### 1"}\n\n{"question": "b?", "answer": "#### 1"}', r"line 2: not a problem \(bad JSON"),
    ('[{"question": "a?", "answer": "#### 1"}]', r"line 1: not a problem \(a line must hold a JSON object, this is a list"),
    ('{"question": "a?", "answer": "18"}', "line 1: not a problem .*no '#### ' with a number after it"),
    ('{"question": "a?", "answer": "1 ####"}', "line 1: not a problem .*no '#### ' with a number after it"),
    ('{"id": "1", "question": " ", "answer": "1"}', "line 1: not a problem .*has an empty question"),
    ('{"id": "1", "question": 5, "answer": "1"}', "line 1: not a problem .*'question' holds 5, not a text"),
    ('{"id": "1", "question": "a?", "answer": null}', "line 1: not a problem .*'answer' holds None"),
    ('{"id": "", "question": "a?", "answer": "1"}', "line 1: not a problem .*'id' holds ''"),
    ('{"id": "1", "question": "a?", "answer": "1"}\n{"id": 1, "question": "b?", "answer": "1"}',
     "line 2: a second problem with the id '1'"),
])  # fmt: skip
def test_a_broken_file_is_named_with_its_line(text, said, tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        load_benchmark(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_broken_containers_are_named(tmp_path):
    file = write(tmp_path / "bad.parquet", [AIME[0], AIME[0] | {"ID": "2", "Problem": None}])
    with pytest.raises(ValueError, match=r"bad.parquet, row 2: not a problem \(its column 'Problem' holds None"):
        load_benchmark(file)
    file.write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="bad.parquet can't be read as parquet"):
        load_benchmark(file)
    (tmp_path / "bad.jsonl").write_bytes(b'{"id": "\xff", "question": "a?", "answer": "1"}\n')
    with pytest.raises(ValueError, match="bad.jsonl, line 1: not a problem .*can't decode byte 0xff"):
        load_benchmark(tmp_path / "bad.jsonl")
    with pytest.raises(ValueError, match="none.parquet is empty"):
        load_benchmark(write(tmp_path / "none.parquet", []))
    (tmp_path / "a.csv").write_text("question,answer\n")
    with pytest.raises(ValueError, match="a.csv is no benchmark file; it must be one of .jsonl, .json, .parquet"):
        load_benchmark(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="has no split 'train': there is no file named after 'train' beside it"):
        load_benchmark(write(tmp_path / "own.jsonl", GSM8K), split="train")
    with pytest.raises(ValueError, match="has no split 'train': there is no train.jsonl beside it"):
        load_benchmark(write(tmp_path / "x" / "test.jsonl", GSM8K), split="train")


# --- repair ---


@pytest.mark.parametrize(("damaged", "whole"), [
    ("$\frac{1}{2}$", r"$\frac{1}{2}$"),
    ("$\\\frac{1}{2}$", r"$\frac{1}{2}$"),
    ("$a \\\\\\\\\frac{1}{2}$", r"$a \\\\\frac{1}{2}$"),
    ("$\beta^2$ \begin{align}", r"$\beta^2$ \begin{align}"),
    ("$x^2 \approx \vec{v}$", r"$x^2 \approx \vec{v}$"),
    ("$\theta \to \tfrac{1}{2}$ and \\[\times\rho\\]", r"$\theta \to \tfrac{1}{2}$ and \[\times\rho\]"),
    ("\\left( 3, \theta \right)", r"\left( 3, \theta \right)"),
])  # fmt: skip
def test_lost_backslashes_are_put_back(damaged, whole, tmp_path):
    rows = [{"id": "1", "question": damaged, "answer": damaged, "solution": damaged}]
    (problem,) = load_benchmark(write(tmp_path / "a.jsonl", rows))
    assert (problem.question, problem.answer, problem.solution) == (whole, whole, whole)


@pytest.mark.parametrize("text", [
    "triangles have\tequal\tperimeters, $\\frac{1}{2}$ of\tan\tangle\r\nof $30^\\circ$\tto the right",
    "[asy]\nreal f(real x)\n{\n\treturn 2*sin(3*x + p);\n\tarrow(x);\n}\n[/asy] $x$",
    "He pays $5\tan hour.\fThe end",
    "page one {x}\fPage two", r"$\frac{1}{2}\\\frac{1}{3} \to$", "$\\nu$\n\nu",
])  # fmt: skip
def test_healthy_text_is_left_alone(text, tmp_path, caplog):
    (problem,) = load_benchmark(write(tmp_path / "a.jsonl", [{"id": "1", "question": text, "answer": "1"}]))
    assert problem.question == text
    assert not caplog.records


# --- GSM-Symbolic ---


def fake_gym(name, size, seed):
    assert name == "gsm_symbolic"
    ending = " Give the result as your final answer. Do not include units."
    for n in ((seed + index) % 400 for index in range(size)):
        yield {
            "question": f"How many are {n} and 1?{ending}",
            "answer": str(n + 1),
            "metadata": {"answer_cot": f"Add.\n#### {n + 1}"},
        }


@pytest.fixture(params=["stand-in", "real"])
def gym(request, monkeypatch):
    if request.param == "real":
        return pytest.importorskip("reasoning_gym")
    monkeypatch.setitem(sys.modules, "reasoning_gym", SimpleNamespace(create_dataset=fake_gym))
    return None


def test_gsm_symbolic_is_drawn_by_seed_and_its_splits_share_nothing(gym):
    draws = {(split, seed): load_benchmark("gsm-symbolic", split=split, limit=60, seed=seed)
             for split in ("test", "tune", "train") for seed in (0, 1)}  # fmt: skip
    for (split, seed), drawn in draws.items():
        assert [p.id for p in drawn] == [f"{split}-{seed}-{n}" for n in range(60)]
        assert load_benchmark("gsm-symbolic", split=split, limit=7, seed=seed) == drawn[:7]
        assert len({p.question for p in drawn}) == 60
    assert load_benchmark("gsm-symbolic", limit=60) == draws["test", 0] != draws["test", 1]
    questions = {split: {p.question for seed in (0, 1) for p in draws[split, seed]} for split in ("test", "tune", "train")}
    assert not questions["test"] & questions["train"]
    assert not questions["tune"] & (questions["test"] | questions["train"])
    for problem in draws["test", 0]:
        assert math.isfinite(float(problem.answer))
        assert problem.benchmark == "gsm-symbolic"
        assert "final answer" not in problem.question
        assert problem.solution
        assert "####" not in problem.solution


def test_gsm_symbolic_says_what_it_needs(monkeypatch):
    with pytest.raises(ValueError, match="the test split of gsm-symbolic is endless; say how many"):
        load_benchmark("gsm-symbolic")
    with pytest.raises(ValueError, match="'gsm-symbolic' has no split 'dev'; it has test, tune, train"):
        load_benchmark("gsm-symbolic", split="dev", limit=1)
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ValueError, match=r"pip install 'latentseek-kit\[symbolic\]'"):
        load_benchmark("gsm-symbolic", limit=1)
