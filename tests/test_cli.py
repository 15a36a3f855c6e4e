"""The command line: flags, files and recipes make one configuration; what is wrong is said in a sentence, with exit code 2."""

import json
import os
import signal
import subprocess
import sys
import time

import kill
import pandas as pd
import pytest
import yaml
from conftest import LengthReward, make_policy

from latentseek_core import Policy, embedded_models, load_runs
from latentseek_core import configs as configs_module
from latentseek_core.cli import main
from latentseek_core.recipes import recipe
from latentseek_core.store import read_config
from latentseek_core.sweeps import read_sweep


@pytest.fixture(scope="session")
def standin(tmp_path_factory):
    """A folder with a small random model, in place of one from the hub."""
    folder = tmp_path_factory.mktemp("models") / "stand-in"
    policy = make_policy()
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def questions(tmp_path_factory):
    """Files with the columns that the benchmarks have on the hub."""
    folder, rows = tmp_path_factory.mktemp("benchmarks"), {}
    rows["gsm8k"] = [{"question": f"What is {i} + 2?", "answer": f"{i} + 2 = {i + 2}\n#### {i + 2}"} for i in range(4)]
    rows["math500"] = [
        {
            "problem": f"Halve {i}.",
            "solution": "…",
            "answer": rf"\frac{{{i}}}{{2}}",
            "subject": "Algebra",
            "level": 1,
            "unique_id": f"u{i}",
        }
        for i in range(4)
    ]
    rows["aime2024"] = [{"ID": f"2024-I-{i}", "Problem": f"Find {i}.", "Solution": "…", "Answer": i} for i in range(4)]
    for name, lines in rows.items():
        (folder / name).mkdir()
        (folder / name / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def call(*arguments):
    """The command line in this process; its exit code."""
    sys.argv = ["latentseek", *map(str, arguments)]
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


@pytest.fixture(autouse=True)
def restore(monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


TEN = [
    "gsm8k-qwen2.5-7b-self-json", "gsm8k-qwen2.5-1.5b-self-boxed", "gsm8k-llama-3.1-8b-self-boxed", "gsm8k-qwen2-7b-psrm-boxed",
    "gsm8k-qwen2.5-14b-cot-json", "math500-qwen2-7b-self-boxed", "math500-qwen2.5-7b-best_of_n-json",
    "aime2024-llama-3.1-8b-psrm-json", "aime2024-qwen2.5-1.5b-self_consistency-boxed", "math500-qwen2.5-14b-self_reflection-json",
]  # fmt: skip


@pytest.mark.parametrize("name", [TEN[0], *(pytest.param(name, marks=pytest.mark.slow) for name in TEN[1:])])
def test_cells_of_table_1_start_by_recipe(name, standin, questions, tmp_path):
    """On a stand-in model and short answers; everything else as published."""
    benchmark, values = name.split("-")[0], recipe(f"table1/{name}")
    out = tmp_path / "cell"
    short = ["--max-new-tokens", "12", "--set", "max_verdict_tokens=4", "--dtype", "float32"]
    code = call("run", "--recipe", f"table1/{name}", "-m", standin, "-b", questions / benchmark, "-n", 3, "-o", out, *short)
    assert code == 0
    written, rows = read_config(out), load_runs(out)
    given = {"model": str(standin), "benchmark": str(questions / benchmark), "max_new_tokens": 12, "dtype": "float32"}
    assert written | given == written
    assert {key: value for key, value in (written | values).items() if key not in given} == {
        key: value for key, value in written.items() if key not in given
    }, "as published"
    assert written["recipe"] == f"table1/{name}"
    assert len(rows) == 3
    assert set(rows.model) == {"stand-in"}
    assert set(rows.benchmark) == {benchmark}
    assert set(rows.prompt) == {"json" if name.endswith("json") else "boxed"}
    assert (rows.verifier_tokens > 0).all() == values.get("reward", "").startswith("self") or values[
        "method"
    ] == "self_reflection"


def test_what_is_given_last_counts(standin, questions, tmp_path, monkeypatch):
    monkeypatch.setitem(configs_module.REWARDS, "self", lambda policy, config: LengthReward())
    file = tmp_path / "mine.yaml"
    file.write_text(
        yaml.safe_dump({"rho": 0.3, "learning_rate": 0.2, "max_new_tokens": 8, "max_iterations": 1, "dtype": "float32"})
    )
    given = ["-m", standin, "-b", questions / "gsm8k", "-o", tmp_path / "a", "--config", file, "--lr", "0.4", "-s", "rho=0.5"]
    assert call("run", "--recipe", f"table1/{TEN[0]}", "--rho", "0.4", *given) == 0
    written = read_config(tmp_path / "a")
    assert [written[name] for name in ("rho", "learning_rate", "max_new_tokens", "prompt")] == [0.5, 0.4, 8, "json"]
    # A run's own config.yaml starts it again.
    assert call("run", "--config", tmp_path / "a" / "config.yaml", "-o", tmp_path / "b") == 0
    frames = [load_runs(tmp_path / name).drop(columns=["run", "seconds"]) for name in "ab"]
    assert frames[0].equals(frames[1])


@pytest.mark.parametrize(("arguments", "said"), [
    (["--model", "no-such", "--benchmark", "tiny-gsm"], "unknown model 'no-such': it is no embedded model"),
    (["--model", "x", "--benchmark", "gsm9k"], "unknown benchmark 'gsm9k': use one of tiny-aime"),
    (["--model", "x", "--benchmark", "tiny-gsm", "--rho", "0"], "SeekConfig.rho is 0.0; it must be in (0, 1]"),
    (["--model", "x", "--benchmark", "tiny-gsm", "--iterations", "0"], "SeekConfig.max_iterations is 0; it must be at least 1"),
    (["--model", "x", "--benchmark", "tiny-gsm", "--method", "magic"], "unknown method 'magic'"),
    (["--model", "x", "--benchmark", "tiny-gsm", "--prompt", "xml"], "unknown prompt 'xml'"),
    (["--model", "x", "--benchmark", "tiny-gsm", "--set", "rhoo=1"], "RunConfig has no 'rhoo'"),
    (["--model", "x", "--benchmark", "tiny-gsm", "--set", "rho"], "'rho' has no value; write NAME=VALUE"),
    (["--model", "x", "--benchmark", "tiny-gsm", "--setting", "dirty"], "RunConfig.setting is 'dirty'"),
    (["--model", "x"], "RunConfig.benchmark is missing; name it (--benchmark on the command line)"),
    (["--recipe", "table1/gsm8k-mistral-7b-self-json"], "mistral"),
    (["--recipe", "table1/gsm8k-qwen2.5-7b-self-jsn"], "table1/gsm8k-qwen2.5-7b-self-json"),
    (["--config", "nowhere.yaml"], "nowhere.yaml can't be read as YAML"),
])  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(arguments, said, tmp_path, capsys):
    assert call("run", *arguments, "--out", tmp_path / "out") == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1


def test_a_notebooks_files_are_those_of_the_folder_one_stands_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("my_prompt.yaml", "my_reward.py", "tiny-gsm"):
        (tmp_path / name).write_text("")
    (tmp_path / "my_model").mkdir()
    taken = []
    monkeypatch.setattr(
        "latentseek_core.tools.notebooks.execute", lambda path, given, out: taken.append((path.stem, given)) or path
    )
    monkeypatch.setattr("latentseek_core.tools.notebooks.closing_text", lambda path: "")
    monkeypatch.setattr("latentseek_core.tools.notebooks.to_page", lambda path: path)
    given = {
        "prompt": "my_prompt.yaml",
        "reward": "self+my_reward.py:f",
        "model": "my_model",
        "benchmark": "tiny-gsm",
        "out": "new",
    }
    assert call("notebook", "02", *(f"-p{name}={value}" for name, value in given.items()), "-pn=4") == 0
    place = tmp_path.resolve()
    made = {"prompt": f"{place}/my_prompt.yaml", "reward": f"self+{place}/my_reward.py:f", "model": f"{place}/my_model"}
    assert taken == [("02_algorithm_one", made | {"benchmark": "tiny-gsm", "out": f"{place}/new", "n": 4})]


BAD_REWARDS = {
    "one": ("return 0.0", "reward f gave 0.0; it must give a list, a number for each answer"),
    "nothing": ("pass", "reward f gave None; it must give a list"),
    "few": ("return [0.0]", "reward f gave 1 scores for 4 answers"),
    "words": ("return answers", "reward f gave something that is no number"),
    "raises": ("return [{}[answer] for answer in answers]", "your own code fails: KeyError: "),
}


@pytest.mark.parametrize("name", BAD_REWARDS)
def test_a_bad_reward_is_said_in_a_sentence(name, standin, questions, tmp_path, capsys):
    code, said = BAD_REWARDS[name]
    (tmp_path / "mine.py").write_text(f"def f(problems, answers):\n    {code}\n")
    given = ["-m", standin, "-b", questions / "gsm8k", "--max-new-tokens", 8, "-o", tmp_path / "a"]
    assert call("run", *given, "--reward", f"{tmp_path / 'mine.py'}:f") == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"latentseek: {said}")
    assert name != "raises" or last.endswith("(mine.py, line 2)")


def test_a_variant_of_ones_own_on_the_command_line(standin, questions, tmp_path, monkeypatch):
    """From a folder of one's own, by a relative path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("from latentseek_core.variants import Plain\n\n\nclass Once(Plain):\n    iterations = 1\n")
    given = ["-m", standin, "-b", questions / "gsm8k", "--max-new-tokens", 8, "--reward", "psrm", "--rho", 0.5]
    assert call("run", *given, "--variant", "mine.py:Once", "-o", "a") == 0
    assert set(load_runs("a").n_iterations) == {1}


def test_a_question_longer_than_the_context_is_refused(tmp_path, capsys):
    file, model = tmp_path / "long.jsonl", embedded_models()[0]
    file.write_text(json.dumps({"id": "1", "question": "How many? " * 2000, "answer": "1"}) + "\n")
    assert call("run", "-m", model, "-b", file, "-o", tmp_path / "out") == 2
    assert f"the context of {model} holds 2048; shorten the question" in capsys.readouterr().err.strip().splitlines()[-1]


def test_an_empty_question_in_a_file_is_named(tmp_path, capsys):
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps({"id": "1", "question": " ", "answer": "1"}) + "\n")
    assert call("run", "-m", "x", "-b", file, "-o", tmp_path / "out") == 2
    errors = capsys.readouterr().err
    assert "line 1: not a problem" in errors
    assert "empty question" in errors


def test_a_place_that_cannot_be_written(standin, questions, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert call("run", "-m", standin, "-b", questions / "gsm8k", "-o", tmp_path / "file" / "out") == 2
    assert "can't be written (Not a directory)" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(standin, questions, tmp_path, capsys):
    tmp_path.chmod(0o555)
    assert call("run", "-m", standin, "-b", questions / "gsm8k", "-o", tmp_path / "out") == 2
    assert "can't be written (Permission denied)" in capsys.readouterr().err


@pytest.mark.slow
def test_a_file_that_may_not_grow(standin, tmp_path):
    """As on a full disk: the operating system refuses amid a line; what was whole before is kept, and the run goes on later."""
    resource = pytest.importorskip("resource")
    command = [
        sys.executable,
        "-m",
        "latentseek_core.cli",
        "run",
        "-m",
        str(standin),
        "-b",
        "tiny-gsm",
        "--method",
        "cot",
        "-n",
        "12",
    ]
    command += ["--max-new-tokens", "8", "--batch-size", "1", "-o", str(tmp_path / "out")]
    file = tmp_path / "out" / "results.jsonl"
    full = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3500, resource.RLIM_INFINITY)),
    )
    assert full.returncode == 2
    assert "can't be written (File too large); finished problems are kept" in full.stderr
    assert file.stat().st_size == 3500
    kept = list(load_runs(tmp_path / "out").problem_id)
    assert kept == [f"test-{i}" for i in range(len(kept))]
    assert 2 < len(kept) < 12
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert list(load_runs(tmp_path / "out").problem_id) == [f"test-{i}" for i in range(12)]


def test_a_model_whose_weights_are_no_numbers(questions, tmp_path, capsys):
    policy, folder = make_policy(seed=5), tmp_path / "broken"
    policy.model.base_model.norm.weight.data.fill_(float("nan"))
    policy.model.save_pretrained(folder)
    policy.tokenizer.save_pretrained(folder)
    make_policy.cache_clear()
    assert call("run", "-m", folder, "-b", questions / "gsm8k", "-o", tmp_path / "out") == 2
    assert "broken gives logits that are no numbers (NaN or infinite)" in capsys.readouterr().err


SWEEP = """
out: {out}
name: '{{method}}-{{rho}}'
base: {{model: {model}, benchmark: {benchmark}, reward: psrm, max_new_tokens: 8, batch_size: 1}}
grid:
  - {{method: [cot]}}
  - {{method: [latentseek], rho: [0.2, 0.4]}}
  - {{method: [resample], budget_from: ['latentseek-0.4']}}
"""


@pytest.mark.slow
def test_a_sweep_its_shards_and_its_table(standin, questions, tmp_path, capsys):
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP.format(out=tmp_path / "whole", model=standin, benchmark=questions / "gsm8k"))
    assert call("sweep", file) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in ("cot-0.2", "latentseek-0.4", "resample-0.2"))
    whole = load_runs(tmp_path / "whole" / "*")
    assert len(whole) == 16
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "whole").glob("*/results.jsonl")}
    assert call("sweep", file) == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}, "what is finished is not done again"
    for part in ("1/2", "2/2"):
        assert call("sweep", file, "--shard", part, "--out", tmp_path / "parts", "--set", "limit=4") == 0
    parts = load_runs(tmp_path / "parts" / "*")
    assert set(parts.run) == set(whole.run)
    keep = ["run", "problem_id", "answer_text", "answer_tokens", "forwarded_tokens"]
    order = {"by": ["run", "problem_id"], "ignore_index": True}
    assert parts[keep].sort_values(**order).equals(whole[keep].sort_values(**order))
    assert call("table", tmp_path / "whole" / "*", "--csv", tmp_path / "table.csv") == 0
    assert set(pd.read_csv(tmp_path / "table.csv").run) == set(whole.run)


def test_a_slash_in_a_sweeps_name_makes_folders_and_one_in_a_value_does_not(tmp_path):
    file = tmp_path / "sweep.yaml"
    grid = "{model: [Org/A, Org/B], method: [resample], reward: [psrm], budget_from: ['{model}/latentseek']}"
    file.write_text(f"out: x\nname: '{{model}}/{{method}}'\nbase: {{benchmark: b}}\ngrid: {grid}\n")
    assert [config.out.as_posix() for config in read_sweep(file)] == ["x/Org_A/resample", "x/Org_B/resample"]
    assert [config.budget_from.as_posix() for config in read_sweep(file)] == ["x/Org_A/latentseek", "x/Org_B/latentseek"]


@pytest.mark.parametrize(("text", "said"), [
    ("out: x\ngrid: {rho: 0.2}\n", "a grid has lines `name: [value, value]`"),
    ("out: x\ngrids: {rho: [0.2]}\n", "has an entry 'grids'"),
    ("grid: {rho: [0.2]}\n", "has no entry 'out'"),
    ("out: x\ngrid: {rho: [0.2, 0.4]}\nname: a\nbase: {model: m, benchmark: b}\n", "gives the name 'a' to two runs"),
    ("out: x\ngrid: {rho: [0.2]}\nname: '{rhoo}'\nbase: {model: m, benchmark: b}\n", "can't be filled: no setting 'rhoo'"),
    ("out: x\ngrid: {rho: [7]}\nbase: {model: m, benchmark: b}\n", "SeekConfig.rho is 7"),
    ("- 1\n", "holds no settings"),
])  # fmt: skip
def test_a_bad_sweep_is_refused_before_the_first_run(text, said, tmp_path, capsys):
    (tmp_path / "sweep.yaml").write_text(text)
    assert call("sweep", tmp_path / "sweep.yaml") == 2
    assert said in capsys.readouterr().err


def test_regrade_pack_recipes(standin, questions, tmp_path, capsys):
    call("run", "-m", standin, "-b", questions / "gsm8k", "--method", "cot", "--max-new-tokens", 8, "-o", tmp_path / "a")
    assert call("regrade", tmp_path / "*") == 0
    assert "a: 0 of 4 answers are graded otherwise" in capsys.readouterr().out.replace("\n", "")
    assert call("pack", tmp_path / "a") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert call("recipes", "table1/gsm8k-qwen2-7b-*") == 0
    listed = capsys.readouterr().out.split()
    assert "table1/gsm8k-qwen2-7b-self-json" in listed
    assert call("table", tmp_path / "nothing") == 2


def test_every_flag_is_a_setting(capsys):
    """The long names of the flags are those of RunConfig, so that a run's config.yaml reads like its command."""
    import inspect

    from latentseek_core.cli import run_command

    names = set(inspect.signature(run_command).parameters) - {"config", "set_"}
    assert names <= set(configs_module.RunConfig.model_fields)


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(tmp_path):
    command = [
        sys.executable,
        "-m",
        "latentseek_core.cli",
        "run",
        "-m",
        embedded_models()[0],
        "-b",
        "tiny-gsm",
        "--batch-size",
        "2",
    ]
    command += ["--method", "cot", "-o", str(tmp_path / "a")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while not (tmp_path / "a" / "results.jsonl").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert "of 1000 problems done; the same command goes on from there" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert len(load_runs(tmp_path / "a")) % 2 == 0


@pytest.mark.slow
def test_killed_runs_end_as_unbroken_ones():
    assert kill.check(kills=4, problems=24) >= 1


def test_a_policy_knows_its_weight_files(standin):
    assert [path.name for path in Policy.from_pretrained(standin).files] == ["model.safetensors"]
