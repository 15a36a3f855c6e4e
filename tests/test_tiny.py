"""The generator: every text about a story agrees with the story's program, and no split leaks into another."""

import random

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2Config

from latentseek_core import embedded_benchmarks, load_benchmark
from latentseek_core.answers import is_correct
from latentseek_core.tiny import stories, worked
from latentseek_core.tiny.benchmark import write_splits
from latentseek_core.tiny.examples import Encoder, Mixture, batches, draw_example, random_calculation
from latentseek_core.tiny.stories import Ref, evaluate
from latentseek_core.tiny.train import Recipe, Stage, Trainer, make_tokenizer, weighted_loss


def many(count=300, seed=0):
    rng = random.Random(seed)
    return [(stories.draw(rng, "train"), rng) for _ in range(count)]


def by_hand(answer):
    """An answer's equations evaluated by Python itself."""
    return [(a, op, b, c, eval(f"{a}{op.replace('/', '//')}{b}") == c) for a, op, b, c in worked.calculations(answer)]


def test_worked_solutions_are_right_and_wrong_ones_are_known_to_be():
    for story, rng in many():
        right = worked.boxed(worked.working(story, rng), story.answer)
        assert is_correct(right, str(story.answer), style="boxed", benchmark="tiny-gsm")
        assert all(same for *_, same in by_hand(right))
        assert [worked.check(name, story, right)[1] for name in worked.CHECKS] == [True] * 4
        slip = {0: worked.near_miss(rng, story.values[0])}
        if min(result for *_, result in evaluate(story.steps, slip)) < 0:
            continue  # no story has a result below zero, and no answer is written so
        wrong = worked.boxed(worked.working(story, rng, slips=slip), evaluate(story.steps, slip)[-1][3])
        assert not by_hand(wrong)[0][-1]
        assert not worked.check("calculation_check", story, wrong)[1]
        assert worked.check("understanding_check", story, wrong)[1]


def test_a_misread_story_is_another_program():
    found = [(story, worked.misread(story, rng), rng) for story, rng in many(400)]
    found = [(story, wrong, rng) for story, wrong, rng in found if wrong]
    assert len(found) > 100
    for story, wrong, rng in found:
        answer = worked.boxed(worked.working(wrong, rng), wrong.answer)
        assert not worked.check("understanding_check", story, answer)[1]
        exact = all(op != "/" or left == right * result for left, op, right, result in evaluate(wrong.steps))
        assert worked.check("calculation_check", story, answer)[1] == exact


def test_every_step_uses_the_one_before():
    for story, _ in many():
        assert all(step.left == Ref(i - 1) for i, step in enumerate(story.steps) if i)
        assert all(2 <= value <= stories.LARGEST for value in story.values)
        for left, op, right, result in evaluate(story.steps):
            assert op != "/" or left == right * result


def test_the_question_holds_the_numbers_that_are_needed():
    for story, _ in many():
        needed = [x for step in story.steps for x in (step.left, step.right) if not isinstance(x, Ref)]
        words = story.question.replace(".", " ").replace("?", " ").split()
        assert all(str(number) in words for number in needed + list(story.distractors))


@pytest.mark.parametrize("split", ["test", "tune"])
def test_the_committed_splits_are_what_the_generator_gives(split, tmp_path):
    write_splits(tmp_path)
    committed = load_benchmark("tiny-gsm", split=split)
    assert committed == load_benchmark(tmp_path / f"{split}.jsonl")
    assert len(committed) == {"test": 1000, "tune": 400}[split]


def test_no_split_leaks_into_another():
    """By construction a program belongs to one split; and no question of `test` or `tune` turns up in 20,000 training stories."""
    programs = {split: {s.program for s in worked.draw_stories(split, n, 0)} for split, n in [("test", 1000), ("tune", 400)]}
    rng = random.Random(5)
    training = [stories.draw(rng, "train") for _ in range(20_000)]
    seen = {story.program for story in training}
    assert not programs["test"] & programs["tune"]
    assert not seen & (programs["test"] | programs["tune"])
    held_out = {p.question for split in ("test", "tune") for p in load_benchmark("tiny-gsm", split=split)}
    assert len(held_out) == 1400
    assert not held_out & {story.question for story in training}


def test_the_train_split_is_endless_and_drawn_by_seed():
    assert load_benchmark("tiny-gsm", split="train", limit=5, seed=1) == load_benchmark(
        "tiny-gsm", split="train", limit=5, seed=1
    )
    assert load_benchmark("tiny-gsm", split="train", limit=5, seed=1) != load_benchmark(
        "tiny-gsm", split="train", limit=5, seed=2
    )
    with pytest.raises(ValueError, match="endless"):
        load_benchmark("tiny-gsm", split="train")


def test_training_examples_fit_the_tokenizer_and_weigh_what_decides():
    tokenizer, rng = make_tokenizer(0), random.Random(0)
    encode = Encoder(tokenizer)
    mixture = Mixture(solve=1, drill=1, compare=1, equations=1, verify=1)
    for _ in range(200):
        kind, (messages, reply) = draw_example(rng, mixture, ())
        ids, weights = encode(kind, (messages, reply))
        assert tokenizer.decode([i for i, w in zip(ids, weights, strict=True) if w], skip_special_tokens=True) == reply
        marked = {tokenizer.decode([i]).strip() for i, w in zip(ids, weights, strict=True) if w > 1}
        assert marked <= set("0123456789yn") | {"yes", "no", "True", "False"}
        assert bool(marked) == (kind not in ("solve", "drill"))
    ids, weights = next(batches(rng, mixture, (), encode, 2048))
    assert ids.shape == weights.shape
    assert ids.numel() <= 2048 + 16 * len(ids)


def test_calculations_in_drills_are_right():
    rng = random.Random(0)
    for _ in range(500):
        a, op, b, result = random_calculation(rng)
        assert eval(f"{a}{op.replace('/', '//')}{b}") == result
        assert worked.check_equation(a, op, b, result)[1]
        assert not worked.check_equation(a, op, b, worked.near_miss(rng, result))[1]


@pytest.mark.slow
def test_an_interrupted_training_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    shape = {"vocab_size": 640, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    stages = (
        Stage("one", 5000, Mixture(solve=0.5, drill=0.5), 1e-3),
        Stage("two", 5000, Mixture(verify=1, own=0.5), 1e-3, decay=True, sample_own=12),
    )
    recipe = Recipe(Qwen2Config(**shape, intermediate_size=32, eos_token_id=1), stages, batch_tokens=1024, checkpoint_steps=2)
    whole = Trainer(recipe, tmp_path / "whole")
    before = weighted_loss(whole.model, *next(whole._source(stages[0], 0))).item()
    whole.run()
    assert weighted_loss(whole.model, *next(whole._source(stages[0], 0))).item() < before
    step, calls = Trainer._step, []

    def pulled(self, *args):
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return step(self, *args)

    monkeypatch.setattr(Trainer, "_step", pulled)
    with pytest.raises(KeyboardInterrupt):
        Trainer(recipe, tmp_path / "broken").run()
    Trainer(recipe, tmp_path / "broken").run()
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "broken")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_problems_of_the_box_and_of_files(tmp_path):
    assert "tiny-gsm" in embedded_benchmarks()
    assert [p.id for p in load_benchmark("tiny-gsm", limit=2)] == ["test-0", "test-1"]
    assert load_benchmark("tiny-gsm", limit=5, seed=1) != load_benchmark("tiny-gsm", limit=5)
    file = tmp_path / "some.jsonl"
    file.write_text('{"question": "How many?", "answer": "9+9=<<9+9=18>>18\\n#### 18"}\n')
    (problem,) = load_benchmark(file)
    assert (problem.id, problem.answer, problem.benchmark) == ("gsm8k-0", "18", "gsm8k")
    file.write_text('{"ID": "I-1", "Problem": "Find it.", "Answer": 25, "Solution": "…"}\n')
    assert load_benchmark(file)[0].answer == "25"
    file.write_text("{}\n")
    with pytest.raises(ValueError, match="some.jsonl, line 1: not a problem"):
        load_benchmark(file)
    with pytest.raises(ValueError, match="unknown benchmark 'gsm9k': use one of"):
        load_benchmark("gsm9k")
    with pytest.raises(ValueError, match="no split 'dev'"):
        load_benchmark("tiny-gsm", split="dev")
    with pytest.raises(ValueError, match="limit is 0"):
        load_benchmark("tiny-gsm", limit=0)
