"""What `latentseek doctor` says, against what is found out otherwise: by hand, by the search itself, by a run."""

import copy
import json
import sys
import warnings

import pytest
import torch
from conftest import ALL, make_policy, mostly_slow, random_problems, random_prompts
from rich.console import Console
from tokenizers.processors import TemplateProcessing

from latentseek_core import Policy, SeekConfig, load_benchmark, load_runs, run, seek
from latentseek_core.cli import main
from latentseek_core.configs import make_config
from latentseek_core.tools.doctor import (
    advice,
    compare_alone,
    examine,
    flip_sizes,
    look_at_model,
    look_at_prompt,
    measure_latents,
    measure_speed,
    page,
)

MODEL = "tiny-qwen2-1.8m"


def changed_policy(change, **attributes) -> Policy:
    """A small random model with a tokenizer that is otherwise than the others'."""
    tokenizer = copy.deepcopy(make_policy().tokenizer)
    change(tokenizer)
    return Policy(make_policy().model, tokenizer, name="changed")


def short(**more):
    limits = {"limit": 12, "max_new_tokens": 12, "max_iterations": 1, "max_verdict_tokens": 6}
    return make_config(model="small", benchmark="tiny-gsm", out="doctor", **limits, **more)


def never(problems, answers):
    return [-1.0] * len(answers)


@pytest.fixture(scope="module")
def report():
    return examine(make_policy(), short(), count=3, sizes=(1, 2))


def sentences(report) -> str:
    return " ".join(advice(report))


def whole_page(report) -> str:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(page(report))
    return console.export_text()


@pytest.mark.parametrize("architecture", ALL)
def test_a_right_head_is_right(architecture):
    policy = make_policy(architecture)
    found = look_at_model(policy, random_prompts(1)[0])
    assert found["head_right"]
    assert found["head_error"] < 1e-3 * found["largest_logit"]
    assert found["tied"] == (policy.model.config.tie_word_embeddings is not False)
    assert (found["vocabulary"], found["hidden_size"]) == (300, 32)
    assert found["parameters"] == sum(p.numel() for p in policy.model.parameters())


def test_a_wrong_head_is_reported():
    """A head that is a tenth off at one token."""
    policy, prompt = copy.copy(make_policy()), random_prompts(1)[0]
    policy.head_module = copy.deepcopy(policy.head_module)
    with torch.no_grad():
        policy.head_module.weight[7] *= 1.1
        ids = torch.tensor([prompt])
        off = 0.1 * policy.model(input_ids=ids).logits[0, :, 7].abs().max().item()
    found = look_at_model(policy, prompt)
    assert not found["head_right"]
    assert found["head_error"] == pytest.approx(off, rel=1e-3)


def test_a_wrong_head_is_said(report):
    broken = type(report)(**vars(report) | {"model": report.model | {"head_right": False}})
    assert "don't use this model" in sentences(broken)
    assert "WRONG" in whole_page(broken)
    assert "don't use this model" not in sentences(report)


@pytest.mark.parametrize(("dtype", "measured"), [(torch.bfloat16, True), (torch.float16, True), (torch.float32, False)])
def test_half_precision_is_timed_beside_float32(dtype, measured):
    policy = Policy(copy.deepcopy(make_policy().model).to(dtype), make_policy().tokenizer, name="half")
    times = look_at_model(policy, random_prompts(1)[0])["times_float32"]
    assert (times is not None and times > 0) == measured


@pytest.mark.parametrize(("times", "said"), [(4.25, True), (1.6, True), (1.2, False), (0.1, False), (None, False)])
def test_a_slow_precision_is_said(report, times, said):
    """As on a processor without instructions for it."""
    facts = report.model | {"dtype": "bfloat16", "times_float32": times}
    told = sentences(type(report)(**vars(report) | {"model": facts}))
    assert ("bfloat16 is" in told and f"{times:.1f} times as slow as float32" in told) if said else "as slow as" not in told


def test_the_prompt_as_the_model_reads_it(policy):
    problem = load_benchmark("tiny-gsm", limit=1)[0]
    found = look_at_prompt(policy, problem, short())
    assert (found["chat_template"], found["system"], found["bos"], found["plain_bos"]) == (True, "kept", 0, 0)
    assert set(found["texts"]) == {"boxed", "json"}
    assert all(problem.question in text for text in found["texts"].values())
    assert set(found["stops"]) == policy.stop_ids
    assert all(text == policy.tokenizer.convert_ids_to_tokens(i) for i, text in found["stops"].items())


def test_no_chat_template():
    plain = changed_policy(lambda tokenizer: setattr(tokenizer, "chat_template", None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = look_at_prompt(plain, load_benchmark("tiny-gsm", limit=1)[0], short())
    assert (found["chat_template"], found["system"]) == (False, "merged")


TURN = "{{ message['role'] }}: {{ message['content'] }}\n"
REFUSING = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"


@pytest.mark.parametrize(
    ("template", "becomes"),
    [
        ("{% for message in messages %}" + TURN + "{% endfor %}", "kept"),
        (REFUSING + "{% for message in messages %}" + TURN + "{% endfor %}", "merged"),
        ("{% for message in messages if message['role'] == 'user' %}" + TURN + "{% endfor %}", "lost"),
    ],
)
def test_what_becomes_of_a_system_message(template, becomes):
    other = changed_policy(lambda tokenizer: setattr(tokenizer, "chat_template", template))
    assert look_at_prompt(other, random_problems(1)[0], short())["system"] == becomes


@pytest.mark.parametrize(("written", "count"), [("", 0), ("<|user|>", 1), ("<|user|><|user|>", 2)])
def test_bos_is_counted(written, count):
    """A token of the vocabulary stands in for BOS; the template writes it none, one or two times, plain text gets it once."""

    def change(tokenizer):
        tokenizer.bos_token = "<|user|>"
        mark = [("<|user|>", tokenizer.bos_token_id)]
        tokenizer._tokenizer.post_processor = TemplateProcessing(single="<|user|> $A", special_tokens=mark)
        tokenizer.chat_template = written + "{% for message in messages %}{{ message['content'] }}{% endfor %}"

    found = look_at_prompt(changed_policy(change), random_problems(1)[0], short())
    assert (found["bos"], found["plain_bos"]) == (count, 1)


@pytest.mark.parametrize("architecture", ALL)
def test_a_batch_changes_nothing_in_float32(architecture):
    policy, prompts = make_policy(architecture), random_prompts(5)
    together = policy.generate(prompts, max_new_tokens=15)
    assert compare_alone(policy, prompts, together, 10) == {"compared": 10, "same": 5, "same_tokens": 1.0}


def test_answers_that_part(policy):
    """Tokens before the first difference, by hand: 2 of 10, and all of another."""
    prompts = random_prompts(2)
    first, second = policy.generate(prompts, max_new_tokens=10, stop_ids=())
    first.token_ids[2] += 1
    found = compare_alone(policy, prompts, [first, second], 10)
    lengths = [len(c.token_ids) for c in policy.generate(prompts, max_new_tokens=10)]
    assert lengths == [10, 10]
    assert found == {"compared": 10, "same": 1, "same_tokens": 12 / 20}


@pytest.mark.parametrize("optimizer", mostly_slow(["adam", "ascent"], "adam"))
@pytest.mark.parametrize("architecture", ALL)
def test_step_sizes_that_flip_are_those_of_the_search(architecture, optimizer):
    """Just below a position's size the search's own first step leaves its token, just above it doesn't."""
    policy, prompt = make_policy(architecture), random_prompts(1)[0]
    how = {"rho": 0.5, "max_new_tokens": 40, "optimizer": optimizer, "max_iterations": 1}
    sizes = flip_sizes(policy, policy.generate([prompt], max_new_tokens=40, keep_latents=True)[0], SeekConfig(**how))
    assert len(sizes) == 20
    for size in sizes[sizes.isfinite()].quantile(torch.tensor([0.1, 0.5, 0.9]), interpolation="nearest").tolist():
        for eta in (0.999 * size, 1.001 * size):
            (result,) = seek(
                policy, random_problems(1), never, SeekConfig(**how, learning_rate=eta), prompt_ids=[prompt], progress=False
            )
            assert result.steps[1].changed == (sizes < eta).nonzero()[:, 0].tolist()


def test_norms_and_margins_by_hand(policy):
    completions = policy.generate(random_prompts(3), max_new_tokens=20, keep_latents=True)
    found = measure_latents(policy, completions, SeekConfig())
    latents = torch.cat([c.latents for c in completions])
    logits = (latents @ policy.model.get_input_embeddings().weight.T).sort(-1, descending=True).values
    assert found["n"] == len(latents)
    assert found["norm"] == pytest.approx(latents.square().sum(-1).sqrt().median().item(), rel=1e-5)
    assert found["margin"] == pytest.approx((logits[:, 0] - logits[:, 1]).median().item(), rel=1e-4)


def test_no_latents(policy):
    """Answers of three tokens have none at ρ = 0.2."""
    found = measure_latents(policy, policy.generate(random_prompts(2), max_new_tokens=3, keep_latents=True), SeekConfig())
    assert (found["prefix"], found["flipped"], found["eta_five"]) == (0, None, None)


def test_speed_is_measured_at_each_size(report):
    assert [s["batch"] for s in report.speeds] == [1, 2]
    assert all(s["reading"] > 0 and s["decoding"] > 0 and 2**20 < s["memory"] < 2**36 for s in report.speeds)


def test_too_large_a_batch_is_left_out(policy):
    """A device that has memory for four."""
    limited = copy.copy(policy)

    def forward(ids, *rest):
        if len(ids) > 4:
            raise torch.OutOfMemoryError
        return policy._forward(ids, *rest)

    limited._forward = forward
    with pytest.warns(UserWarning, match="out of memory"):
        speeds = measure_speed(limited, random_prompts(3), (1, 4, 16, 32))
    assert [s["batch"] for s in speeds] == [1, 4]


@pytest.mark.parametrize("method", mostly_slow(["latentseek", "cot"], "cot"))
def test_the_estimate_is_that_of_the_run(method, tmp_path):
    """All problems are measured, so tokens are the run's own; hours grow with the number of problems."""
    config = short(method=method)
    all_of_them = examine(make_policy(), config, count=12, sizes=(1,)).run
    rows = load_runs(run(config.model_copy(update={"out": tmp_path / "run"}), make_policy()))
    assert all_of_them["tokens"]["mean"] == pytest.approx((rows.answer_tokens + rows.verifier_tokens).mean())
    assert all_of_them["measured"] == all_of_them["n"] == 12
    assert (all_of_them["unreadable"] is None) == (method == "cot")
    assert all_of_them["tokens"]["low"] <= all_of_them["tokens"]["mean"] <= all_of_them["tokens"]["high"]
    assert 0 < all_of_them["hours"]["low"] <= all_of_them["hours"]["high"] < 1


def test_what_a_nonsense_model_gets_said(report):
    """A random model writes no box, ends nowhere, and judges nothing."""
    assert "3 of 3 answers miss the format" in sentences(report)
    assert "3 of 3 answers were cut" in sentences(report)
    assert "100.0% of verdicts can't be read" in sentences(report)


def test_the_page_holds_every_section(report):
    text = whole_page(report)
    for title in ("qwen2 (Qwen2ForCausalLM)", "Prompt", "Speed", "Answers", "Latents", "latentseek self on 12 problems", "To do"):
        assert f"\n{title}" in f"\n{text}", title
    assert max(map(len, text.splitlines())) <= 120


def test_json_holds_everything(report):
    again = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert set(again) == {"model", "prompt", "speeds", "answers", "latents", "run", "advice"}


def test_one_problem_is_too_few():
    with pytest.raises(ValueError, match="shows no spread"):
        examine(make_policy(), short(), count=1)


def call(*arguments) -> int:
    """The command line in this process; its exit code."""
    sys.argv = ["latentseek", "doctor", *map(str, arguments)]
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


@pytest.fixture
def _no_hub(monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.slow
@pytest.mark.usefixtures("_no_hub")
def test_the_command_on_the_embedded_model(capfd):
    assert call(MODEL, "--problems", 6, "--limit", 50, "--iterations", 2, "--json") == 0
    found = json.loads(capfd.readouterr().out)
    assert found["model"]["head_right"]
    assert (found["answers"]["n"], found["answers"]["same"], found["answers"]["same_tokens"]) == (6, 6, 1.0)
    assert (found["run"]["n"], found["run"]["unreadable"]) == (50, 0.0)
    eta, problems = found["latents"]["eta_five"], load_benchmark("tiny-gsm", limit=50)
    assert 0.001 < eta < 1
    config = SeekConfig(learning_rate=eta, max_iterations=1, max_new_tokens=256)
    steps = seek(Policy.from_pretrained(MODEL), problems, never, config, progress=False)
    flipped = sum(len(s.steps[1].changed) for s in steps) / sum(s.latent_length for s in steps)
    assert 0.02 < flipped < 0.1  # on all 50 problems the η found on six


@pytest.mark.slow
@pytest.mark.usefixtures("_no_hub")
def test_the_page_on_the_command_line(capfd):
    plan = ["--problems", 2, "--limit", 2, "--method", "cot", "--max-new-tokens", 16, "--rho", 0.5, "--lr", 0.25]
    assert call(MODEL, *plan, "--set", "max_latents=7") == 0
    out = capfd.readouterr().out
    assert "η = 0.25 changes" in out
    assert "of 14 tokens in the first step" in out  # 7 a problem
    assert MODEL in out
    assert "2 of 2 answers were cut" in out


@pytest.mark.usefixtures("_no_hub")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-model"], "unknown model"),
        ([MODEL, "-b", "nothing"], "unknown benchmark"),
        ([MODEL, "--problems", 1], "no spread"),
        ([MODEL, "--prompt", "no-such.yaml"], "no prompt file"),
        ([MODEL, "--set", "verifiers=boxed"], "the prompt boxed can't be used"),
        ([MODEL, "--rho", 2], "SeekConfig.rho is 2.0"),
    ],
)
def test_bad_input_is_said_in_a_sentence(arguments, said, capfd):
    assert call(*arguments) == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("latentseek: ")
    assert said in error
