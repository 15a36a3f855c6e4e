"""A run survives a kill, refuses to mix settings, and is read back with all it needs."""

import json
import subprocess
import sys

import pytest
from conftest import LengthReward, make_policy

from latentseek_core import RunConfig, embedded_models, load_runs, run
from latentseek_core import runs as runs_module
from latentseek_core.cli import main

COLUMNS = (
    "run model benchmark split method reward variant prompt rho learning_rate max_iterations seed problem_id answer gold correct "
    "correct_loose n_iterations prompt_tokens answer_tokens verifier_tokens forwarded_tokens seconds"
).split()


@pytest.fixture(autouse=True)
def cheap_reward(monkeypatch):
    monkeypatch.setitem(runs_module.REWARDS, "self", lambda policy, config: LengthReward())


def config(folder, **overrides):
    settings = {
        "model": "random",
        "benchmark": "tiny-gsm",
        "limit": 6,
        "max_new_tokens": 16,
        "max_iterations": 2,
        "batch_size": 2,
    }
    return RunConfig(**settings | {"out": folder} | overrides)


@pytest.mark.parametrize("method", ["cot", "latentseek", "resample"])
def test_a_run_has_a_line_a_problem_and_all_columns(method, tmp_path):
    policy = make_policy()
    assert run(config(tmp_path / "a", method=method), policy) == tmp_path / "a"
    rows = load_runs(tmp_path / "*")
    assert set(COLUMNS) <= set(rows.columns)
    assert list(rows.problem_id.sort_values()) == [f"test-{i}" for i in range(6)]
    assert (rows.answer_tokens > 0).all()
    assert rows.forwarded_tokens.sum() >= rows.prompt_tokens.sum() + rows.answer_tokens.sum() - len(rows)
    assert set(rows.benchmark) == {"tiny-gsm"}
    for _, row in rows.iterrows():
        assert row.n_iterations == max(0, len(row.steps) - 1)
        assert row.answer_tokens == sum(step["decoded_tokens"] for step in row.steps) or method == "cot"


def test_resampling_keeps_to_another_runs_tokens(tmp_path):
    policy = make_policy()
    run(config(tmp_path / "seek", max_iterations=5, rho=0.9, learning_rate=0.5), policy)
    run(config(tmp_path / "again", method="resample", budget_from=tmp_path / "seek", temperature=5.0), policy)
    seek, again = (load_runs(tmp_path / name).set_index("problem_id") for name in ("seek", "again"))
    longest = again.steps.map(lambda steps: max(step["decoded_tokens"] for step in steps)).max()
    assert abs(again.answer_tokens.sum() - seek.answer_tokens.sum()) <= 2 * longest, "the reward never passes: all is spent"
    assert again.n_iterations.max() - again.n_iterations.min() <= 1, "round after round"
    assert again.n_iterations.max() >= 1
    with pytest.raises(ValueError, match="has no result for problem test-6; finish that run first"):
        run(config(tmp_path / "more", method="resample", budget_from=tmp_path / "seek", limit=7), policy)


class PulledPlugError(Exception):
    pass


def test_a_killed_run_goes_on_and_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    policy = make_policy()
    run(config(tmp_path / "whole"), policy)
    generate, calls = policy.generate, []

    def pulled(*args, **kwargs):
        calls.append(1)
        if len(calls) > 5:
            raise PulledPlugError
        return generate(*args, **kwargs)

    monkeypatch.setattr(policy, "generate", pulled)
    with pytest.raises(PulledPlugError):
        run(config(tmp_path / "broken"), policy)
    monkeypatch.undo()
    monkeypatch.setitem(runs_module.REWARDS, "self", lambda policy, config: LengthReward())
    file = tmp_path / "broken" / "results.jsonl"
    finished = file.read_text()
    assert 0 < finished.count("\n") < 6
    file.write_text(finished + '{"problem_id": "test-5", "ans')
    run(config(tmp_path / "broken"), policy)
    assert file.read_text().startswith(finished)
    frames = [load_runs(tmp_path / name).sort_values("problem_id").reset_index(drop=True) for name in ("whole", "broken")]
    assert frames[0].answer_text.equals(frames[1].answer_text)
    assert list(frames[0].n_iterations) == list(frames[1].n_iterations)
    before = file.read_text()
    run(config(tmp_path / "broken"), policy)
    assert file.read_text() == before


def test_other_settings_do_not_mix(tmp_path):
    run(config(tmp_path / "a", method="cot"), make_policy())
    with pytest.raises(ValueError, match=r"holds a run with another rho \(0.2, not 0.4\)"):
        run(config(tmp_path / "a", method="cot", rho=0.4), make_policy())
    with pytest.raises(ValueError, match="no run matches"):
        load_runs(tmp_path / "b*")


@pytest.mark.parametrize(("arguments", "said"), [
    (["--model", "no-such", "--benchmark", "tiny-gsm"], "unknown model 'no-such': it is no embedded model"),
    (["--model", "x", "--benchmark", "gsm9k"], "unknown benchmark 'gsm9k': use one of tiny-gsm"),
    (["--model", "x", "--benchmark", "tiny-gsm", "--rho", "0"], "SeekConfig.rho is 0.0; it must be in (0, 1]"),
    (["--model", "x", "--benchmark", "tiny-gsm", "--iterations", "0"], "SeekConfig.max_iterations is 0; it must be at least 1"),
    (["--model", "x", "--benchmark", "tiny-gsm", "--method", "magic"], "unknown method 'magic'"),
    (["--model", "x", "--benchmark", "tiny-gsm", "--prompt", "xml"], "unknown prompt 'xml'"),
])  # fmt: skip
def test_the_command_line_says_what_is_wrong_in_a_sentence(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(sys, "argv", ["latentseek", "run", *arguments, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        main()
    errors = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in errors
    assert errors.count("\n") == 1


def test_a_question_longer_than_the_context_is_refused(tmp_path, monkeypatch, capsys):
    file = tmp_path / "long.jsonl"
    file.write_text(json.dumps({"id": "1", "question": "How many? " * 2000, "answer": "1"}) + "\n")
    model = embedded_models()[0]
    monkeypatch.setattr(sys, "argv", ["latentseek", "run", "-m", model, "-b", str(file), "-o", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"the context of {model} holds 2048; shorten the question" in last


def test_an_empty_question_in_a_file_is_named(tmp_path):
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps({"id": "1", "question": " ", "answer": "1"}) + "\n")
    command = [sys.executable, "-m", "latentseek_core.cli", "run", "-m", "x", "-b", str(file), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "line 1: not a problem" in done.stderr
    assert "empty question" in done.stderr
