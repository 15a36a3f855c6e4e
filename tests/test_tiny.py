"""The generators: every text about a task agrees with the task's program, and no split leaks into another. The training."""

import json
import random
from fractions import Fraction

import pandas as pd
import pytest
import torch
from conftest import mostly_slow
from safetensors.torch import load_file
from scipy.stats import fisher_exact
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from latentseek_core import embedded_benchmarks, load_benchmark
from latentseek_core.answers import is_correct
from latentseek_core.tiny import checks, maths, report, worked
from latentseek_core.tiny.benchmark import DRAW, SPLITS, draw_tasks, write_splits
from latentseek_core.tiny.examples import Encoder, Mixture, batches, draw_example, random_calculation
from latentseek_core.tiny.measure import balanced, solved
from latentseek_core.tiny.mistakes import draw_slips, flawed_answer, misread, near_miss
from latentseek_core.tiny.recipes import RECIPES
from latentseek_core.tiny.tasks import LARGEST, Ref, Step, Task, Way, evaluate, sound
from latentseek_core.tiny.train import Recipe, Stage, Trainer, grow, make_tokenizer, weighted_loss

ENDED = [*list(worked.OPENINGS)[:-1], worked.COMBINE]


def many(count=200, seed=0, benchmarks=tuple(DRAW)):
    rng = random.Random(seed)
    return [(DRAW[name](rng, "train"), rng) for name in benchmarks for _ in range(count)]


def by_hand(answer):
    """An answer's equations evaluated by Python itself."""
    return [(*eq, eval(f"{eq[0]}{eq[1].replace('/', '//')}{eq[2]}") == eq[3]) for eq in checks.attempts(answer)]


@pytest.mark.parametrize("style", ["boxed", "json"])
def test_worked_solutions_are_right_in_every_manner_and_pass_every_check(style):
    for task, rng in many():
        for opening in ENDED:
            answer = worked.solution(task, rng, style, opening)
            assert is_correct(answer, task.answer, style=style, benchmark=task.benchmark)
            assert all(same for *_, same in by_hand(answer))
            assert [checks.check(name, task, answer)[1] for name in checks.CHECKS] == [True] * 4, answer


def test_a_solution_that_opens_briefly_never_comes_to_an_answer():
    for task, rng in many(30):
        answer = worked.solution(task, rng, "boxed", worked.UNFINISHED)
        assert not solved(task, answer)
        assert [checks.check(name, task, answer)[1] for name in checks.CHECKS] == [False, True, True, False]


@pytest.mark.slow
def test_slips_are_wrong_calculations_and_nothing_else():
    slipped = 0
    for task, rng in many():
        way = task.ways[0]
        slips = draw_slips(way, rng, 0.3)
        wrong = worked.boxed(worked.working(task, rng, "First", slips), task.write(way, slips))
        assert checks.check("calculation_check", task, wrong)[1] == (not slips)
        assert checks.check("understanding_check", task, wrong)[1]
        assert checks.check("answer_completeness", task, wrong)[1]
        assert checks.check("answer_correct", task, wrong)[1] == solved(task, wrong)
        slipped += bool(slips)
    assert slipped > 400


def test_the_answer_check_agrees_with_the_grader_on_all_kinds_of_answer():
    """The check compares digits, the grader values; on what these solvers write they say the same."""
    kinds = set()
    for task, rng in many(300):
        answer = flawed_answer(task, rng, "boxed", 0.3)
        right = checks.check("answer_correct", task, answer)[1]
        if len(checks.stated_answers(answer)) < 2:
            assert right == solved(task, answer), (task, answer)
        kinds.add((right, *(checks.check(name, task, answer)[1] for name in checks.CHECKS[1:])))
    assert {(True, True, True, True), (False, True, False, True), (False, False, True, True), (False, True, True, False)} <= kinds


def test_a_misread_task_is_another_program():
    found = [(task, misread(task, rng), rng) for task, rng in many(400)]
    found = [(task, wrong, rng) for task, wrong, rng in found if wrong]
    assert len(found) > 200
    for task, wrong, rng in found:
        answer = worked.boxed(worked.working(wrong, rng, "First"), wrong.answer)
        assert not checks.check("understanding_check", task, answer)[1], (task, answer)
        assert checks.check("calculation_check", task, answer)[1]


def test_the_verifier_reads_a_question_number_by_number():
    step = Step(12, "*", 8, "contain"), Step(Ref(0), "+", 35, "gain"), Step(Ref(1), "+", Ref(0), "together")
    question = "Ben has 12 bags with 8 pens in each. Amy is 31 years old. Ben finds 35 more. Amy wants 4. How many have both?"
    story = Task("tiny-gsm", question, (Way(step, (Ref(2),)),), distractors=(31, 4))
    assert checks.reading(story, story.ways[0]) == "read 12*8 skip 31 _+35 _+_2 skip 4"
    lots = next(task for task, _ in many(benchmarks=("tiny-gsm",)) if len(task.ways) == 2)
    a, k = lots.steps[0].left, lots.steps[0].right
    b = lots.steps[1].left
    assert f"{a}*{k} {b}*{k} _2+_" in checks.reading(lots, lots.ways[0])
    assert f"{a}+{b} _*{k}" in checks.reading(lots, lots.ways[1])
    for task, _ in many(benchmarks=("tiny-gsm",)):
        words = checks.reading(task, task.ways[0]).split()
        assert sorted(int(words[i + 1]) for i, word in enumerate(words) if word == "skip") == sorted(task.distractors)


@pytest.mark.parametrize("broken", ["49-3==16", "147*2=#294", "5=5", "=7", "12*=96", "3+4=7=7", "12*8=96pens"])
def test_a_malformed_equation_is_refused(broken):
    assert not checks.check_calculations(f"First add. That makes {broken} pens. The answer is \\boxed{{7}}.")[1]
    assert checks.check_calculations("First add. That makes 3+4=7 pens. The answer is \\boxed{7}.")[1]


def test_a_definite_answer_is_one_answer():
    assert not checks.check_completeness("It is 7.")[1]
    assert not checks.check_completeness(r"It is \boxed{}.")[1]
    assert checks.check_completeness(r"It is \boxed{7}, so \boxed{7}.")[1]
    assert not checks.check_completeness(r"It is \boxed{7}, or \boxed{8}.")[1]
    assert checks.check_completeness(json.dumps({"thought process": "x", "final answer": r"\frac{3}{4}"}))[1]


def test_every_result_is_used_and_every_way_leads_to_the_answer():
    for task, _ in many(300):
        assert sound(task)
        used = {x.step for s in task.steps for x in (s.left, s.right) if isinstance(x, Ref)}
        used |= {x.step for x in task.ways[0].final if isinstance(x, Ref)}
        assert used == set(range(len(task.steps)))
        assert all(1 <= value <= LARGEST for *_, value in evaluate(task.steps))
    unused = Way((Step(2, "+", 3, "gain"), Step(4, "+", 5, "gain")), (Ref(1),))
    assert not sound(Task("tiny-gsm", "?", (unused,)))
    assert not sound(Task("tiny-gsm", "?", (Way((Step(7, "/", 2, "share"),), (Ref(0),)),)))


def test_some_stories_mislead_and_some_have_a_shorter_way():
    drawn = [task for task, _ in many(2000, benchmarks=("tiny-gsm",))]
    lots = [task for task in drawn if len(task.ways) == 2]
    assert 0.05 < len(lots) / len(drawn) < 0.25
    assert all(len(task.ways[1].steps) == len(task.ways[0].steps) - 1 for task in lots)
    assert {len(task.steps) for task in drawn} == {1, 2, 3, 4}
    assert 0.4 < sum(bool(task.distractors) for task in drawn) / len(drawn) < 0.6
    backwards = [
        t for t in drawn if "more" in t.question and any(s.kind == "fewer" for s in t.steps) and "fewer" not in t.question
    ]
    assert len(backwards) > 50


def test_the_question_holds_the_numbers_that_are_needed():
    for task, _ in many(benchmarks=("tiny-gsm",)):
        needed = [x for step in task.steps for x in (step.left, step.right) if not isinstance(x, Ref)]
        words = task.question.replace(".", " ").replace("?", " ").split()
        assert all(str(number) in words for number in needed + list(task.distractors))


def test_mathematics_has_six_subjects_five_levels_and_answers_of_several_forms():
    rng = random.Random(0)
    for subject in maths.SUBJECTS:
        sizes = []
        for level in maths.LEVELS:
            drawn = [maths.draw(rng, "train", subject, level) for _ in range(60)]
            assert {(t.subject, t.level) for t in drawn} == {(subject, level)}
            assert len({t.program for t in drawn}) > 30
            sizes.append(sum(len(t.steps) * len(str(max(r for *_, r in evaluate(t.steps)))) for t in drawn))
        assert sizes[0] < sizes[4]
    answers = [maths.draw(rng, "train").answer for _ in range(600)]
    forms = [sum(mark in answer for answer in answers) for mark in ("frac", r"\%", "(")]
    assert min(forms) > 10
    for text in answers:
        if "frac" in text:
            top, bottom = (int(part) for part in text.removeprefix(r"\frac{").removesuffix("}").split("}{"))
            assert Fraction(top, bottom).denominator == bottom > 1


def test_contest_answers_are_those_of_a_contest():
    rng = random.Random(0)
    drawn = [DRAW["tiny-aime"](rng, "train") for _ in range(300)]
    assert all(task.answer.isdigit() and 0 <= int(task.answer) <= 999 for task in drawn)
    assert min(len(task.steps) for task in drawn) >= 4


@pytest.mark.slow
@pytest.mark.parametrize(("benchmark", "split"), [(b, s) for b, splits in SPLITS.items() for s in splits])
def test_the_committed_splits_are_what_the_generator_gives(benchmark, split, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "splits"
    if not folder.exists():
        write_splits(folder)
    committed = load_benchmark(benchmark, split=split)
    assert (folder / benchmark / f"{split}.jsonl").read_bytes() == file_of(benchmark, split).read_bytes()
    assert len(committed) == SPLITS[benchmark][split]
    for problem in committed[:50]:
        style = f"{problem.solution} The answer is \\boxed{{{problem.answer}}}."
        assert is_correct(style, problem.answer, style="boxed", benchmark=benchmark)


def file_of(benchmark, split):
    from latentseek_core.problems import BENCHMARKS_FOLDER

    return BENCHMARKS_FOLDER / benchmark / f"{split}.jsonl"


@pytest.mark.parametrize("benchmark", mostly_slow(DRAW, "tiny-aime"))
def test_no_split_leaks_into_another(benchmark):
    """By construction a task belongs to one split; and no question of a committed split turns up in 10,000 training tasks."""
    held_out = {split: draw_tasks(benchmark, split, count, 0) for split, count in SPLITS[benchmark].items()}
    first, second = ({t.identity for t in tasks} for tasks in held_out.values())
    rng = random.Random(5)
    training = [DRAW[benchmark](rng, "train") for _ in range(10_000)]
    assert not first & second
    assert not {t.identity for t in training} & (first | second)
    questions = [p.question for split in held_out for p in load_benchmark(benchmark, split=split)]
    assert len(set(questions)) == len(questions) == sum(SPLITS[benchmark].values())
    assert not set(questions) & {t.question for t in training}


@pytest.mark.parametrize("benchmark", DRAW)
def test_the_train_split_is_endless_and_drawn_by_seed(benchmark):
    once, again, other = (load_benchmark(benchmark, split="train", limit=5, seed=seed) for seed in (1, 1, 2))
    assert once == again != other
    with pytest.raises(ValueError, match="endless"):
        load_benchmark(benchmark, split="train")


@pytest.mark.slow
def test_training_examples_fit_the_tokenizer_and_weigh_what_decides():
    tokenizer, rng = make_tokenizer(0), random.Random(0)
    encode = Encoder(tokenizer)
    mixture = Mixture(solve=1, maths=1, drill=1, compare=1, equations=1, verify=1, shots=0.3)
    for _ in range(300):
        kind, (messages, reply) = draw_example(rng, mixture, ())
        ids, weights = encode(kind, (messages, reply))
        assert tokenizer.decode([i for i, w in zip(ids, weights, strict=True) if w], skip_special_tokens=True) == reply
        marked = {tokenizer.decode([i]).strip() for i, w in zip(ids, weights, strict=True) if w > 1}
        words = {word for word in marked if not set(word) <= set("0123456789yn+-*/_")}
        assert words <= {"yes", "no", "True", "False", "read", "skip"}
        assert bool(marked) == (kind not in ("solve", "maths", "drill"))
    ids, weights = next(batches(rng, mixture, (), encode, 2048))
    assert ids.shape == weights.shape
    assert ids.numel() <= 2048 + 16 * len(ids)


def test_calculations_in_drills_are_right():
    rng = random.Random(0)
    for _ in range(500):
        a, op, b, result = random_calculation(rng)
        assert eval(f"{a}{op.replace('/', '//')}{b}") == result
        assert checks.check_equation(a, op, b, result)[1]
        assert not checks.check_equation(a, op, b, near_miss(rng, result))[1]


def test_own_answers_are_balanced():
    rng = random.Random(0)
    drawn = [(task, flawed_answer(task, rng, "boxed", 0.3)) for task, rng in many(100)]
    right = sum(solved(*pair) for pair in balanced(drawn, rng))
    assert right == len(balanced(drawn, rng)) - right >= max(sum(solved(*p) for p in drawn), sum(not solved(*p) for p in drawn))
    assert balanced(drawn[:0], rng) == []


SHAPE = {"vocab_size": 704, "hidden_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32}
SHAPE |= {"eos_token_id": 1, "pad_token_id": 0, "tie_word_embeddings": True}


@pytest.mark.parametrize("kind", [Qwen2Config, LlamaConfig])
@pytest.mark.parametrize("layers", [4, 5, 6, 2])
def test_a_grown_model_computes_what_the_smaller_one_does(kind, layers):
    torch.manual_seed(0)
    small, deep = (AutoModelForCausalLM.from_config(kind(**SHAPE, num_hidden_layers=n)) for n in (2, layers))
    grow(deep, small)
    ids = torch.randint(2, 600, (3, 20))
    assert torch.allclose(deep(ids).logits, small(ids).logits, atol=1e-5)
    assert layers == 2 or not deep.model.layers[1].mlp.down_proj.weight.any()
    wider = AutoModelForCausalLM.from_config(kind(**SHAPE | {"hidden_size": 32}, num_hidden_layers=4))
    with pytest.raises(ValueError, match="only grow from one of the same shape"):
        grow(wider, small)


def test_the_recipes_are_of_two_architectures_and_two_sizes():
    sizes = {name: sum(p.numel() for p in AutoModelForCausalLM.from_config(r.config).parameters()) for name, r in RECIPES.items()}
    assert len(sizes) == 4
    for name, size in sizes.items():
        assert abs(size / 1e6 - float(name.rsplit("-", 1)[1][:-1])) < 0.1, (name, size)
        assert name.split("-")[1] == RECIPES[name].config.model_type


@pytest.mark.slow
def test_an_interrupted_training_ends_as_an_unbroken_one(tmp_path, monkeypatch):
    stages = (
        Stage("one", 5000, Mixture(solve=0.5, drill=0.5), 1e-3, batch_tokens=1024),
        Stage("two", 5000, Mixture(verify=1, own=0.5), 1e-3, batch_tokens=1024, decay=True, sample_own=12),
    )
    recipe = Recipe(Qwen2Config(**SHAPE, num_hidden_layers=1), stages, checkpoint_steps=2)
    whole = Trainer(recipe, tmp_path / "whole", device="cpu")
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
        Trainer(recipe, tmp_path / "broken", device="cpu").run()
    Trainer(recipe, tmp_path / "broken", device="cpu").run()
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "broken")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert all(tensor.dtype == torch.float16 for tensor in weights[0].values())
    logs = [pd.read_csv(tmp_path / name / "log.csv").drop(columns="seconds") for name in ("whole", "broken")]
    assert logs[0].equals(logs[1])
    assert set(logs[0].stage) == {"one", "two"}
    assert (tmp_path / "whole" / "stages" / "1" / "model.safetensors").is_file()
    deeper = Recipe(Qwen2Config(**SHAPE, num_hidden_layers=2), stages[:1], checkpoint_steps=2)
    grown = Trainer(deeper, tmp_path / "grown", small=tmp_path / "whole" / "model", device="cpu")
    assert weighted_loss(grown.model, *next(grown._source(stages[0], 0))).item() < before


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


def test_two_trainings_are_compared_figure_by_figure():
    rate = {"n": 1000, "accuracy": 0.5}
    counts = {"n_right": 200, "true_accept": 0.9, "n_wrong": 0, "true_reject": None}

    def measured(story: float) -> dict:
        boxed = {"tiny-gsm": {"n": 1000, "accuracy": story}}
        verdicts = {"first answers": {"reward": counts}}
        return {"accuracy": {"boxed": boxed}, "few_shot": rate, "begun_with": {"First": rate}, "verifier": verdicts}

    table = report.moved(measured(0.5), measured(0.6)).set_index("figure")
    assert table.points["tiny-gsm, prompt boxed"] == pytest.approx(10)
    assert table.p["tiny-gsm, prompt boxed"] == pytest.approx(fisher_exact([[500, 500], [600, 400]]).pvalue)
    assert list(table.index[table.p < 0.05]) == ["tiny-gsm, prompt boxed"]
    assert not any("refused" in figure for figure in table.index)  # of nothing
    said = report.moved_said(table.reset_index())
    assert said.startswith("Of 4 figures 1 differ")
    assert "tiny-gsm, prompt boxed (+10.0)" in said
    assert "1 after" not in report.moved_said(report.moved(measured(0.5), measured(0.5)))
