"""Code of a reader's own: what is taken, and what is said about everything else."""

import os

import pytest
from conftest import LengthReward, make_policy, random_problems

from latentseek_core import SeekConfig, seek
from latentseek_core.own import blame, from_here, joined, own_file, own_reward, own_variant
from latentseek_core.settings import VARIANTS, variant_class

REWARDS = """
def zero(problems, answers):
    return [0.0 for answer in answers]


def three(problems, answers, more):
    return [0.0 for answer in answers]


class Judge:
    def __init__(self, strict=True, fair=True):
        self.value = -1.0

    def __call__(self, problems, answers):
        return [self.value for answer in answers]


judge, number = Judge(), 7


def fails(problems, answers):
    return [float(answer) for answer in answers]
"""
HALF = """
from latentseek_core.variants import Plain


class Half(Plain):
    def reward(self):
        return super().reward() / 2


class Stuck(Plain):
    def move(self):
        self.search.latents += self.search.no_such_thing


class Other:
    pass
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {"mine.py": REWARDS, "half.py": HALF, "broken.py": "x = 1\ny = x / 0\n", "odd.py": "def f(:\n"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    return tmp_path


def test_a_function_or_an_object_that_can_be_called_is_a_reward(here):
    assert own_reward("mine.py:zero")([1, 2], ["a", "b"]) == [0.0, 0.0]
    assert own_reward(f"{here}/mine.py:judge")([1], ["a"]) == [-1.0]


REFUSED = {
    own_reward: {
        "nowhere.py:zero": "there is no file {here}/nowhere.py; write FILE.py:NAME",
        "mine.py": "mine.py is a whole file; say what in it is meant: FILE.py:NAME",
        "mine.py:": "mine.py: is a whole file",
        "mine.py:zeros": "mine.py has no function 'zeros'; name a function \\(problems, answers\\)",
        "mine.py:three": "mine.py:three is no reward; a reward is a function \\(problems, answers\\)",
        "mine.py:Judge": "mine.py:Judge is no reward",
        "mine.py:number": "mine.py:number is no reward",
        "broken.py:f": "broken.py fails on import: ZeroDivisionError: division by zero \\(broken.py, line 2\\)",
        "odd.py:f": "odd.py fails on import: SyntaxError: .*odd.py, line 1",
        "leaves.py:f": "leaves.py fails on import: SystemExit",
    },
    variant_class: {
        "nowhere.py:Half": "there is no file {here}/nowhere.py",
        "half.py": "half.py is a whole file",
        "half.py:Halves": "half.py has no class 'Halves'; name a subclass of latentseek_core.variants.Plain",
        "half.py:Other": "half.py:Other is no variant; a variant is a subclass of latentseek_core.variants.Plain",
        "mine.py:zero": "mine.py:zero is no variant",
        "broken.py:Half": "broken.py fails on import",
        "Half": "unknown variant 'Half': use one of zero, kick, .*, FILE.py:CLASS, or several joined by \\+",
        "half.py:Half+constant_stop": "replace the same part \\(reward\\)",
    },
}


@pytest.mark.parametrize(("load", "name"), [(load, name) for load, names in REFUSED.items() for name in names])
def test_what_is_no_reward_or_variant_is_refused_in_a_sentence(load, name, here):
    with pytest.raises(ValueError, match=REFUSED[load][name].format(here=here)):
        load(name)


def test_a_variant_by_file_is_the_class_and_joins_others(here, monkeypatch):
    """Under the plain step half the reward is half the step: the same searches as with the class handed in by hand."""
    monkeypatch.setitem(VARIANTS, "half", own_variant("half.py:Half"))
    found = {}
    for name in ("half.py:Half", "half", ""):
        config = SeekConfig(variant=name, optimizer="ascent", learning_rate=3.0, max_new_tokens=24, max_iterations=2)
        found[name] = seek(make_policy(), random_problems(2), LengthReward(), config, progress=False)
    losses = {name: [[step.loss for step in result.steps] for result in results] for name, results in found.items()}
    assert losses["half.py:Half"] == losses["half"]
    assert losses["half.py:Half"][0][1] == pytest.approx(losses[""][0][1] / 2)
    both = variant_class("best+half.py:Half")
    assert (both.reward.__qualname__, both.chosen.__qualname__) == ("Half.reward", "Best.chosen")


def test_a_changed_file_counts_anew_but_not_within_a_setting(here):
    config = SeekConfig(variant="half.py:Half")
    assert config.parts is config.parts
    (here / "half.py").write_text(HALF.replace("class Half(Plain):", "class Half(Plain):\n    epochs = 7\n"))
    assert (config.parts.epochs, SeekConfig(variant="half.py:Half").parts.epochs) == (1, 7)


def test_a_change_within_a_second_counts(here):
    """Where size and second stay as they were, Python's import takes the compiled copy of before."""
    for value in "123456":
        (here / "quick.py").write_text(f"def f(problems, answers):\n    return [-{value}.0]\n")
        assert own_reward("quick.py:f")([1], ["a"]) == [-float(value)]
    assert not (here / "__pycache__").exists()


def test_names_with_a_plus(here):
    assert joined("self+mine.py:zero+format") == ["self", "mine.py:zero", "format"]
    assert joined("mine.py:zero+format") == ["mine.py:zero", "format"]
    (here / "c++").mkdir()
    (here / "c++" / "mine.py").write_text(REWARDS)
    assert joined("c++/mine.py:zero") == ["c++/mine.py:zero"]
    assert own_file("self") is None


def test_a_name_as_seen_from_here(here):
    assert from_here("self+mine.py:zero") == f"self+{os.path.realpath(here)}/mine.py:zero"
    assert [from_here(name) for name in ("self", "nowhere.py:f", "tiny-gsm/*", "")] == ["self", "nowhere.py:f", "tiny-gsm/*", ""]


def test_an_error_in_own_code_is_said_with_its_line(here):
    with pytest.raises(ValueError, match="float") as raised:
        own_reward("mine.py:fails")([1], ["seven"])
    assert blame(raised.value).startswith(
        "your own code fails: ValueError: could not convert string to float: 'seven' (mine.py, line"
    )
    config = SeekConfig(variant="half.py:Stuck", max_new_tokens=24)
    with pytest.raises(AttributeError) as stuck:
        seek(make_policy(), random_problems(1), LengthReward(), config, progress=False)
    assert "no_such_thing" in blame(stuck.value)
    assert blame(stuck.value).endswith("(half.py, line 12)")
    with pytest.raises(ValueError, match="rho") as ours:
        SeekConfig(rho=7)
    assert blame(ours.value) == ""
