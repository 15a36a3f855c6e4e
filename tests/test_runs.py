"""A run survives a kill, refuses to mix settings, and is read back with all it needs, as a folder or packed."""

import copy
import json
import os
import signal
import threading
import zipfile

import pytest
from conftest import LengthReward, make_policy, mostly_slow

from latentseek_core import Policy, RunConfig, load_benchmark, load_runs, run
from latentseek_core import configs as configs_module
from latentseek_core.configs import make_config
from latentseek_core.methods import METHODS
from latentseek_core.runs import origins, pack, regrade
from latentseek_core.settings import VARIANTS
from latentseek_core.store import read_origin, read_rows, read_settings, root_of, writing

COLUMNS = (
    "run model benchmark split method reward variant prompt rho learning_rate max_iterations seed problem_id answer gold correct "
    "correct_loose n_iterations prompt_tokens answer_tokens verifier_tokens forwarded_tokens seconds"
).split()


@pytest.fixture(autouse=True)
def cheap_reward(monkeypatch):
    monkeypatch.setitem(configs_module.REWARDS, "self", lambda policy, config: LengthReward())


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


def lines(folder):
    """The results without what a clock says."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_rows(folder)]


@pytest.mark.parametrize("method", METHODS)
def test_a_run_has_a_line_a_problem_and_all_columns(method, tmp_path):
    policy = make_policy()
    assert run(config(tmp_path / "a", method=method), policy) == tmp_path / "a"
    rows = load_runs(tmp_path / "*")
    assert set(COLUMNS) <= set(rows.columns)
    assert list(rows.problem_id.sort_values()) == [f"test-{i}" for i in range(6)]
    assert (rows.answer_tokens > 0).all()
    assert (rows.forwarded_tokens > 0).all()
    assert set(rows.benchmark) == {"tiny-gsm"}
    assert set(rows.reward) == ({"self"} if method in ("best_of_n", "latentseek", "resample") else {""})
    for _, row in rows.iterrows():
        assert row.n_iterations == len(row.steps) - 1
        assert row.answer_tokens == sum(step["decoded_tokens"] for step in row.steps)
        assert all({"correct", "correct_loose"} <= set(step) for step in row.steps)


def test_tokens_are_counted_once_each(tmp_path):
    policy = make_policy()
    run(config(tmp_path / "a", method="cot"), policy)
    rows = load_runs(tmp_path / "a")
    # An answer's last token is never read; the prompt is read once.
    assert rows.forwarded_tokens.sum() == rows.prompt_tokens.sum() + rows.answer_tokens.sum() - len(rows)


def test_resampling_keeps_to_another_runs_tokens_batch_by_batch(tmp_path):
    policy = make_policy()
    run(config(tmp_path / "seek", max_iterations=5, rho=0.9, learning_rate=0.5), policy)
    run(config(tmp_path / "again", method="resample", budget_from=tmp_path / "seek", temperature=5.0), policy)
    seek, again = (load_runs(tmp_path / name).set_index("problem_id") for name in ("seek", "again"))
    longest = again.steps.map(lambda steps: max(step["decoded_tokens"] for step in steps)).max()
    for start in (0, 2, 4):
        batch = [f"test-{start}", f"test-{start + 1}"]
        spent = seek.answer_tokens[batch].sum() - again.answer_tokens[batch].sum()
        assert abs(spent) <= longest, "the reward never passes: all is spent"
        assert again.n_iterations[batch].max() - again.n_iterations[batch].min() <= 1, "round after round"
    assert again.n_iterations.max() >= 1
    with pytest.raises(ValueError, match="has no result for problem test-6; finish that run first"):
        run(config(tmp_path / "more", method="resample", budget_from=tmp_path / "seek", limit=7), policy)
    with pytest.raises(ValueError, match="there is no run .*none to take the token budget from"):
        run(config(tmp_path / "other", method="resample", budget_from=tmp_path / "none"), policy)


class PulledPlugError(Exception):
    pass


def pull_after(policy, monkeypatch, calls):
    """The policy's power fails after so many calls; returns a list that grows with each."""
    generate, made = policy.generate, []

    def pulled(*args, **kwargs):
        made.append(1)
        if len(made) > calls:
            raise PulledPlugError
        return generate(*args, **kwargs)

    monkeypatch.setattr(policy, "generate", pulled)
    return made


@pytest.mark.parametrize("share", mostly_slow([0.25, 0.5, 0.8], 0.5))
@pytest.mark.parametrize("method", ["latentseek", "resample", "best_of_n"])
def test_a_broken_run_goes_on_and_ends_as_an_unbroken_one(method, share, tmp_path, monkeypatch):
    """Broken off after a share of its decoding: between batches of three, or amid one."""
    policy, how = make_policy(), {"method": method, "batch_size": 3, "max_iterations": 4, "reward_threshold": -0.6}
    with monkeypatch.context() as patch:
        made = pull_after(policy, patch, 1000)
        run(config(tmp_path / "whole", **how), policy)
    with monkeypatch.context() as patch:
        pull_after(policy, patch, max(1, int(share * len(made))))
        with pytest.raises(PulledPlugError):
            run(config(tmp_path / "broken", **how), policy)
    file = tmp_path / "broken" / "results.jsonl"
    finished = file.read_bytes() if file.exists() else b""
    done = finished.count(b"\n")
    assert done < 6
    assert done or share < 0.5
    file.write_bytes(finished + b'{"problem_id": "test-5", "ans')
    run(config(tmp_path / "broken", **how), policy)
    assert file.read_bytes().startswith(finished)
    assert lines(tmp_path / "broken") == lines(tmp_path / "whole"), "line for line, tokens forwarded and losses included"
    before = file.read_bytes()
    run(config(tmp_path / "broken", **how), policy)
    assert file.read_bytes() == before
    sessions = read_origin(tmp_path / "broken")["sessions"]
    assert [session["problems"] for session in sessions] == [done, 6 - done]


@pytest.mark.parametrize(
    "how",
    mostly_slow(
        [{"variant": name} for name in VARIANTS if name] + [{"method": name} for name in ("slot", "ltpo", "soft_thinking")],
        {"variant": "random"},
        {"method": "ltpo"},
    ),
    ids=str,
)
def test_every_variant_and_rival_goes_on_after_a_break(how, tmp_path, monkeypatch):
    """Broken off in its second batch."""
    policy, how = make_policy(), {"limit": 4, "max_new_tokens": 12, "rho": 0.5, "learning_rate": 0.3} | how
    made, generate = [], policy.generate
    with monkeypatch.context() as patch:
        patch.setattr(policy, "generate", lambda *args, **kwargs: made.append(1) or generate(*args, **kwargs))
        run(config(tmp_path / "whole", **how), policy)
    with monkeypatch.context() as patch:
        pull_after(policy, patch, len(made) - 1)
        with pytest.raises(PulledPlugError):
            run(config(tmp_path / "broken", **how), policy)
    assert 2 <= len(lines(tmp_path / "broken")) < 4
    run(config(tmp_path / "broken", **how), policy)
    assert lines(tmp_path / "broken") == lines(tmp_path / "whole")
    assert set(load_runs(tmp_path / "broken").variant) == {how.get("variant", "")}


def test_variants_are_checked_with_the_other_settings(tmp_path):
    policy, settings = make_policy(), {"model": "m", "benchmark": "b", "out": "o"}
    with pytest.raises(ValueError, match="unknown variant 'radnom': use one of zero, kick"):
        make_config(**settings, variant="radnom")
    with pytest.raises(ValueError, match="variant random replaces a part of latentseek; cot has no such part"):
        make_config(**settings, variant="random", method="cot")
    with pytest.raises(ValueError, match="SeekConfig.n_samples is 1; it must be at least 2"):
        make_config(**settings, variant="sampled", n_samples=1)
    run(config(tmp_path / "a", variant="shuffled"), policy)
    with pytest.raises(ValueError, match="holds a run with another batch_size"):
        run(config(tmp_path / "a", variant="shuffled", batch_size=3), policy)


@pytest.mark.parametrize("tail", [b'{"problem_id": "test-5"}', b"\x00\x00\x00", b"{]\n", b"\xff\xfe\n", b'"text"\n'])
def test_a_corrupt_last_line_is_dropped(tail, tmp_path):
    policy = make_policy()
    run(config(tmp_path / "a", method="cot"), policy)
    whole = lines(tmp_path / "a")
    file = tmp_path / "a" / "results.jsonl"
    file.write_bytes(b"".join(line + b"\n" for line in file.read_bytes().split(b"\n")[:-2]) + tail)
    assert len(load_runs(tmp_path / "a")) == 5
    run(config(tmp_path / "a", method="cot"), policy)
    assert lines(tmp_path / "a") == whole


def test_a_corrupt_line_in_the_middle_is_named_and_refused(tmp_path):
    policy = make_policy()
    run(config(tmp_path / "a", method="cot"), policy)
    file = tmp_path / "a" / "results.jsonl"
    damaged = file.read_bytes().split(b"\n")
    damaged[2] = damaged[2][:40]
    file.write_bytes(b"\n".join(damaged))
    for read in (lambda: run(config(tmp_path / "a", method="cot"), policy), lambda: load_runs(tmp_path / "a")):
        with pytest.raises(ValueError, match=r"results.jsonl, line 3: damaged .*remove that line"):
            read()
    assert file.read_bytes() == b"\n".join(damaged), "nothing was lost"
    damaged[2] = damaged[1]
    file.write_bytes(b"\n".join(damaged))
    with pytest.raises(ValueError, match="line 3: a second line for problem test-1"):
        load_runs(tmp_path / "a")


def test_some_problems_of_a_benchmark(tmp_path):
    policy = make_policy()
    run(config(tmp_path / "a", method="cot", start=3, limit=2), policy)
    assert list(load_runs(tmp_path / "a").problem_id) == ["test-3", "test-4"]
    run(config(tmp_path / "b", method="cot", limit=None, ids=["test-7", "test-2"]), policy)
    assert list(load_runs(tmp_path / "b").problem_id) == ["test-7", "test-2"]
    with pytest.raises(ValueError, match="has no problem 'test-x'"):
        run(config(tmp_path / "c", method="cot", ids=["test-x"]), policy)
    with pytest.raises(ValueError, match="no problem behind the first 2000"):
        run(config(tmp_path / "c", method="cot", limit=None, start=2000), policy)


def test_other_settings_do_not_mix(tmp_path):
    run(config(tmp_path / "a", method="cot"), make_policy())
    with pytest.raises(ValueError, match=r"holds a run with another rho \(0.2, not 0.4\)"):
        run(config(tmp_path / "a", method="cot", rho=0.4), make_policy())
    with pytest.raises(ValueError, match="no run matches .*all in FOLDER: 'FOLDER/\\*'"):
        load_runs(tmp_path / "b*")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "results.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"holds results but no config.yaml"):
        run(config(tmp_path / "c", method="cot"), make_policy())


def test_other_weights_do_not_mix(tmp_path):
    policy = make_policy()
    folders = []
    for seed in (0, 1):
        folders.append(tmp_path / f"model{seed}" / "model")
        make_policy(seed=seed).model.save_pretrained(folders[-1])
        policy.tokenizer.save_pretrained(folders[-1])
    run(config(tmp_path / "a", method="cot", limit=2), Policy.from_pretrained(folders[0]))
    origin = read_origin(tmp_path / "a")
    assert list(origin["inputs"]) == ["model.safetensors"]
    assert len(origin["inputs"]["model.safetensors"]) == 64
    assert origin["sessions"][0]["versions"]["transformers"]
    with pytest.raises(ValueError, match=r"begun with another model.safetensors \(SHA-256"):
        run(config(tmp_path / "a", method="cot", limit=4), Policy.from_pretrained(folders[1]))
    assert len(load_runs(tmp_path / "a")) == 2


def test_one_writer_at_a_time(tmp_path):
    with writing(tmp_path / "a"), pytest.raises(ValueError, match="another process is writing to"):
        run(config(tmp_path / "a", method="cot"), make_policy())
    run(config(tmp_path / "a", method="cot"), make_policy())
    assert len(load_runs(tmp_path / "a")) == 6


def test_ctrl_c_ends_after_the_batch_and_the_run_goes_on(tmp_path, monkeypatch):
    policy = make_policy()
    run(config(tmp_path / "whole", method="cot"), policy)
    generate, made, before = policy.generate, [], signal.getsignal(signal.SIGINT)

    def interrupted(*args, **kwargs):
        made.append(os.kill(os.getpid(), signal.SIGINT) if len(made) == 1 else None)
        return generate(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(policy, "generate", interrupted)
        with pytest.raises(KeyboardInterrupt, match="stopped with 4 of 6 problems done"):
            run(config(tmp_path / "a", method="cot"), policy)
    assert signal.getsignal(signal.SIGINT) == before
    run(config(tmp_path / "a", method="cot"), policy)
    assert lines(tmp_path / "a") == lines(tmp_path / "whole")


def test_a_second_ctrl_c_ends_at_once(tmp_path, monkeypatch):
    policy = make_policy()

    def interrupted(*args, **kwargs):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("still running")

    monkeypatch.setattr(policy, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(config(tmp_path / "a", method="cot"), policy)


def test_a_run_in_a_thread(tmp_path):
    thread = threading.Thread(target=run, args=(config(tmp_path / "a", method="cot"), make_policy()))
    thread.start()
    thread.join()
    assert len(load_runs(tmp_path / "a")) == 6


def test_a_full_disk_says_so_and_loses_nothing(tmp_path, monkeypatch):
    policy, appended = make_policy(), []
    fsync = os.fsync

    def full(descriptor):
        appended.append(1)
        if len(appended) == 5:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("latentseek_core.store.os.fsync", full)
        with pytest.raises(RuntimeError, match=r"can't be written \(No space left on device\); finished problems are kept"):
            run(config(tmp_path / "a", method="cot"), policy)
    run(config(tmp_path / "a", method="cot"), policy)
    run(config(tmp_path / "whole", method="cot"), policy)
    assert lines(tmp_path / "a") == lines(tmp_path / "whole")


def test_nan_logits_keep_what_was_finished(tmp_path, monkeypatch):
    policy = make_policy()
    head, calls = policy.head, []

    def broken(latents, **how):
        calls.append(1)
        return head(latents, **how) * (float("nan") if len(calls) > 20 else 1)

    monkeypatch.setattr(policy, "head", broken)
    with pytest.raises(ValueError, match="qwen2 gives logits that are no numbers"):
        run(config(tmp_path / "a", method="cot"), policy)
    assert 0 < len(load_runs(tmp_path / "a")) < 6


def test_a_prompt_beyond_the_context_is_refused_before_the_first_answer(tmp_path, monkeypatch):
    policy = make_policy()
    monkeypatch.setattr(policy, "context_length", 150)
    with pytest.raises(ValueError, match=r"the prompt of problem test-\d can't be used: it has \d+ tokens, but the context"):
        run(config(tmp_path / "a", method="cot"), policy)


def test_packed_runs_read_as_folders_do(tmp_path):
    policy = make_policy()
    run(config(tmp_path / "a", method="cot"), policy)
    before = load_runs(tmp_path / "a")
    assert pack(tmp_path / "a") == tmp_path / "a.zip"
    assert not (tmp_path / "a").exists()
    for pattern in (tmp_path / "a", tmp_path / "*", tmp_path / "a.zip"):
        assert load_runs(pattern).equals(before)
    assert zipfile.ZipFile(tmp_path / "a.zip").namelist() == ["config.yaml", "origin.json", "results.jsonl"]
    assert run(config(tmp_path / "a", method="cot"), policy) == tmp_path / "a", "it is finished: nothing is done"
    assert not (tmp_path / "a").exists()
    with pytest.raises(ValueError, match="is packed without problem test-6; unpack it"):
        run(config(tmp_path / "a", method="cot", limit=7), policy)
    with pytest.raises(ValueError, match="another method"):
        run(config(tmp_path / "a"), policy)
    bits = (tmp_path / "a.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "a")
    (tmp_path / "a.zip").unlink()
    assert pack(tmp_path / "a").read_bytes() == bits, "the same run gives the same file"


def test_an_unfinished_run_is_not_packed(tmp_path, monkeypatch):
    policy = make_policy()
    with monkeypatch.context() as patch:
        pull_after(policy, patch, 2)
        with pytest.raises(PulledPlugError):
            run(config(tmp_path / "a", method="cot"), policy)
    with pytest.raises(ValueError, match="has 4 of 6 problems; finish it before it is packed"):
        pack(tmp_path / "a")
    assert len(load_runs(tmp_path / "a")) == 4


@pytest.mark.parametrize("as_zip", [False, True])
def test_stored_answers_are_graded_again(as_zip, tmp_path):
    run(config(tmp_path / "a", method="cot"), make_policy())
    file = tmp_path / "a" / "results.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    whole = lines(tmp_path / "a")
    for row in rows[:2]:
        row["answer_text"] = rf"so \boxed{{{row['gold']}}}"
        row["steps"][0]["answer_text"] = "The answer is " + row["gold"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = pack(tmp_path / "a") if as_zip else tmp_path / "a"
    assert regrade(path) == (2, 6)
    after = load_runs(tmp_path / "a")
    assert after.correct.sum() == 2
    assert [(s[0]["correct"], s[0]["correct_loose"]) for s in after.steps[:2]] == [(False, True)] * 2
    assert lines(root_of(path))[2:] == whole[2:]
    assert regrade(path) == (0, 6)


def test_shards_are_joined_and_equal_the_whole(tmp_path):
    policy = make_policy()
    run(config(tmp_path / "whole" / "seek", limit=7), policy)
    for part in (1, 2, 3):
        run(config(tmp_path / "parts" / f"seek.{part}-of-3", limit=7, shard=f"{part}/3"), policy)
    whole, parts = (load_runs(tmp_path / name / "*").sort_values("problem_id", ignore_index=True) for name in ("whole", "parts"))
    assert set(parts.run) == {"seek"}
    own = ["shard", "seconds"]
    assert parts.drop(columns=own).equals(whole.drop(columns=own)), "the same batches: the same losses and tokens"


def test_a_config_is_the_same_in_yaml(tmp_path):
    made = config(tmp_path / "a", method="latentseek", weights={"answer_correct": 2.5}, grad_clip=1.0, budget_from=None)
    (tmp_path / "c.yaml").write_text(made.to_yaml())
    assert make_config(**read_settings(tmp_path / "c.yaml"), out=tmp_path / "a") == made
    run(made, make_policy())
    assert make_config(**read_settings(tmp_path / "a" / "config.yaml"), out=tmp_path / "a") == made


@pytest.mark.parametrize(("bad", "said"), [
    ({"method": "magic"}, "unknown method 'magic'"),
    ({"reward": "magic"}, "unknown reward 'magic': use one of self, psrm"),
    ({"reward": "nowhere.py:f"}, "there is no file .*/nowhere.py"),
    ({"reward": ""}, "method latentseek needs a reward"),
    ({"reward": "outcome"}, "the reward outcome needs a model"),
    ({"rho": 0.0}, r"SeekConfig.rho is 0.0; it must be in \(0, 1\]"),
    ({"limit": 0}, "RunConfig.limit is 0: Input should be greater than or equal to 1"),
    ({"temperature": -1}, "RunConfig.temperature is -1"),
    ({"n_samples": 0}, "RunConfig.n_samples is 0"),
    ({"weights": {"answer_correct": -1}}, "RunConfig.weights.answer_correct is -1"),
    ({"setting": "dirty"}, "RunConfig.setting is 'dirty'"),
    ({"shard": "3/2"}, "RunConfig.shard is '3/2': a shard is written i/n"),
    ({"budget_from": "x"}, "budget_from limits resample"),
    ({"rhoo": 1}, "RunConfig has no 'rhoo'; it has model"),
    ({"model": ""}, "RunConfig.model is ''"),
])  # fmt: skip
def test_bad_settings_are_named(bad, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        make_config(**{"model": "m", "benchmark": "b", "out": tmp_path} | bad)


def test_a_missing_setting_is_named(tmp_path):
    with pytest.raises(ValueError, match="RunConfig.benchmark is missing"):
        make_config(model="m", out=tmp_path)


def test_a_reward_of_ones_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def short(problems, answers):\n    return [-len(answer) / 1000 - 0.5 for answer in answers]\n")
    run(config(tmp_path / "a", reward=f"{file}:short"), make_policy())
    rows = load_runs(tmp_path / "a")
    assert all(step["reward"] == -len(step["answer_text"]) / 1000 - 0.5 for steps in rows.steps for step in steps)
    assert list(read_origin(tmp_path / "a")["inputs"]) == ["mine.py"]
    with pytest.raises(ValueError, match="has no function 'long'"):
        run(config(tmp_path / "b", reward=f"{file}:long"), make_policy())
    file.write_text("def short(problems, answers):\n    return [0.0 for answer in answers]\n")
    with pytest.raises(ValueError, match=r"begun with another mine.py"):
        run(config(tmp_path / "a", reward=f"{file}:short", limit=8), make_policy())
    with pytest.raises(ValueError, match="mine.py:short is no variant"):
        config(tmp_path / "b", variant=f"{file}:short")
    file.write_text("import nowhere\n")
    with pytest.raises(ValueError, match=r"mine.py fails on import: ModuleNotFoundError"):
        run(config(tmp_path / "b", reward=f"{file}:long"), make_policy())


def test_a_sum_with_a_reward_of_ones_own(tmp_path):
    (tmp_path / "mine.py").write_text("def half(problems, answers):\n    return [-0.5 for answer in answers]\n")
    run(config(tmp_path / "a", reward=f"self+{tmp_path / 'mine.py'}:half"), make_policy())
    for steps in load_runs(tmp_path / "a").steps:
        by_hand = LengthReward()(None, [step["answer_text"] for step in steps])
        assert [step["reward"] for step in steps] == [value - 0.5 for value in by_hand]
    assert "mine.py" in read_origin(tmp_path / "a")["inputs"]


VARIANT = """
from latentseek_core.variants import Plain


class Sure(Plain):
    iterations = 1
"""


def test_a_variant_of_ones_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(VARIANT)
    run(config(tmp_path / "a", variant=f"{file}:Sure"), make_policy())
    rows = load_runs(tmp_path / "a")
    assert set(rows.n_iterations) == {1}
    assert set(rows.variant) == {f"{file}:Sure"}
    assert list(read_origin(tmp_path / "a")["inputs"]) == ["mine.py"]
    file.write_text(VARIANT.replace("1", "2"))
    with pytest.raises(ValueError, match=r"begun with another mine.py"):
        run(config(tmp_path / "a", variant=f"{file}:Sure", limit=8), make_policy())
    file.unlink()
    assert set(load_runs(tmp_path / "a").n_iterations) == {1}, "read back without the file"


def test_code_that_is_changed_while_a_run_goes_counts_from_the_next_run_on(tmp_path):
    policy, file = make_policy(), tmp_path / "mine.py"
    file.write_text(VARIANT)
    decode = policy.decode_text
    policy = copy.copy(policy)
    policy.decode_text = lambda *args, **how: file.write_text(VARIANT.replace("1", "2")) and decode(*args, **how)
    run(config(tmp_path / "a", variant=f"{file}:Sure"), policy)
    assert set(load_runs(tmp_path / "a").n_iterations) == {1}


def test_before_the_first_result_a_file_may_still_be_corrected(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def short(problems, answers):\n    return [1 / 0 for answer in answers]\n")
    with pytest.raises(ZeroDivisionError):
        run(config(tmp_path / "a", reward=f"{file}:short"), make_policy())
    file.write_text("def short(problems, answers):\n    return [-0.5 for answer in answers]\n")
    run(config(tmp_path / "a", reward=f"{file}:short"), make_policy())
    assert len(load_runs(tmp_path / "a")) == 6


def test_a_run_ends_where_its_prompt_is_changed(tmp_path):
    """No problem is answered with a prompt that isn't the one written down."""
    policy, file = copy.copy(make_policy()), tmp_path / "mine.yaml"
    file.write_text("style: boxed\nmessages: [{role: user, content: 'First: {question}'}]\n")
    generate = policy.generate
    policy.generate = lambda *args, **how: file.write_text(file.read_text().replace("First", "Then")) and generate(*args, **how)
    with pytest.raises(ValueError, match=r"mine.yaml was changed while .*/a was going"):
        run(config(tmp_path / "a", method="cot", prompt=str(file)), policy)
    assert len(load_runs(tmp_path / "a")) == 2
    with pytest.raises(ValueError, match="begun with another mine.yaml"):
        run(config(tmp_path / "a", method="cot", prompt=str(file)), make_policy())


def test_examples_that_are_among_the_problems_are_refused(tmp_path):
    problems = load_benchmark("tiny-gsm", split="train", limit=4)
    for split in ("test", "train"):
        rows = [{"id": p.id + split, "question": p.question, "answer": p.answer, "solution": p.solution} for p in problems]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(ValueError, match="is one of the problems to solve"):
        run(config(tmp_path / "a", method="few_shot", benchmark=str(tmp_path / "test.jsonl")), make_policy())


def test_examples_from_elsewhere(tmp_path):
    problem = load_benchmark("tiny-gsm", limit=1)[0]
    (tmp_path / "mine.jsonl").write_text(json.dumps({"id": "1", "question": problem.question, "answer": problem.answer}) + "\n")
    how = {"method": "few_shot", "benchmark": str(tmp_path / "mine.jsonl"), "limit": 1}
    with pytest.raises(ValueError, match="no worked examples: .*name a benchmark with a train split by shots_from"):
        run(config(tmp_path / "a", **how), make_policy())
    run(config(tmp_path / "a", **how, shots_from="tiny-gsm", shots=2), make_policy())
    run(config(tmp_path / "b", **how | {"method": "cot"}), make_policy())
    assert load_runs(tmp_path / "a").prompt_tokens[0] > 1.5 * load_runs(tmp_path / "b").prompt_tokens[0]


def test_origins_say_where_runs_come_from(tmp_path):
    run(config(tmp_path / "a", method="cot"), make_policy())
    (row,) = origins(tmp_path / "*").itertuples()
    assert (row.run, row.n, row.dtype) == ("a", 6, "float32")
    assert row.date == read_origin(tmp_path / "a")["sessions"][0]["end"][:10]
