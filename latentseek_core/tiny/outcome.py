"""The outcome reward model: a small sequence classifier that tells right answers from wrong ones at a glance (section E.5)."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from ..policy import MODELS_FOLDER, Policy
from ..rewards import OutcomeReward
from . import stories
from .benchmark import draw_tasks
from .examples import OwnAnswers, as_problem
from .measure import Confusion, answers_of, answers_of_searches, balanced, solved

NAME = "tiny-outcome"
POLICIES = ("tiny-qwen2-1.8m", "tiny-llama-1.8m")
ANSWERS, EPOCHS, BATCH, RATE = 4000, 3, 32, 5e-4
TEMPLATE = Path(__file__).resolve().parent / "outcome.md"


def sampled_answers(name: str, count: int, seed: int) -> OwnAnswers:
    """Answers of a model to training problems, as many right as wrong: greedy, sampled, and from searches."""
    policy, rng = Policy.from_pretrained(name), random.Random(f"outcome/{name}/{seed}")
    tasks = [stories.draw(rng, "train") for _ in range(count)]
    third = count // 3
    pairs = list(zip(tasks[:third], answers_of(policy, tasks[:third]), strict=True))
    pairs += zip(tasks[third : 2 * third], answers_of(policy, tasks[third : 2 * third], temperature=1.0, seed=seed), strict=True)
    return balanced([*pairs, *answers_of_searches(policy, tasks[2 * third :])], rng)


def encoded(tokenizer: PreTrainedTokenizerBase, pairs: OwnAnswers) -> list[tuple[list[int], float]]:
    """Each pair as `OutcomeReward` shows it to a classifier, with its label."""
    examples = []
    for task, answer in pairs:
        talk = [{"role": "user", "content": task.question}, {"role": "assistant", "content": answer}]
        ids = tokenizer(tokenizer.apply_chat_template(talk, tokenize=False), add_special_tokens=False)["input_ids"]
        examples.append((ids, float(solved(task, answer))))
    return examples


def train_outcome(folder: Path, seed: int = 0, answers: int = ANSWERS, policies: Sequence[str] = POLICIES) -> Path:
    """Trains the classifier on top of the first policy's backbone; writes it into `folder/tiny-outcome` and returns that."""
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(MODELS_FOLDER / policies[0])
    model = AutoModelForSequenceClassification.from_pretrained(MODELS_FOLDER / policies[0], num_labels=1, dtype=torch.float32)
    pairs = [pair for name in policies for pair in sampled_answers(name, answers // len(policies), seed)]
    _fit(model, encoded(tokenizer, pairs), random.Random(seed))
    model.save_pretrained(folder / NAME, state_dict={name: tensor.half() for name, tensor in model.state_dict().items()})
    tokenizer.save_pretrained(folder / NAME)
    return folder / NAME


def _fit(model: PreTrainedModel, examples: list[tuple[list[int], float]], rng: random.Random) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.01)
    steps = EPOCHS * -(-len(examples) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    with tqdm(total=steps, desc=NAME, unit="step", mininterval=10) as bar:
        for _ in range(EPOCHS):
            rng.shuffle(examples)
            for start in range(0, len(examples), BATCH):
                batch = examples[start : start + BATCH]
                length = max(len(ids) for ids, _ in batch)
                ids = torch.tensor([i + [0] * (length - len(i)) for i, _ in batch])
                logits = model(input_ids=ids, attention_mask=(ids != 0).long()).logits[:, 0]
                loss = F.binary_cross_entropy_with_logits(logits, torch.tensor([label for _, label in batch]))
                loss.backward()
                optimiser.step()
                schedule.step()
                optimiser.zero_grad()
                bar.update()


def measure_outcome(folder: Path, count: int = 400, policies: Sequence[str] = POLICIES) -> dict[str, dict[str, float]]:
    """What it says of test answers, by their source: how often right ones pass `reward > −0.2` and wrong ones don't, and the area
    under the curve (0.5: it knows nothing)."""
    reward, measured = OutcomeReward(folder), {}
    for name in policies:
        policy, tasks = Policy.from_pretrained(name), draw_tasks("tiny-gsm", "test", count, seed=0)
        greedy = list(zip(tasks, answers_of(policy, tasks), strict=True))
        for source, pairs in {"first": greedy, "searched": answers_of_searches(policy, tasks)}.items():
            measured[f"{name}, {source}"] = _judged(reward, pairs)
    (folder / "measured.json").write_text(json.dumps(measured, indent=1) + "\n")
    return measured


def _judged(reward: OutcomeReward, pairs: OwnAnswers) -> dict[str, float]:
    scores = [s.value for s in reward([as_problem(task) for task, _ in pairs], [answer for _, answer in pairs])]
    truths, table = [solved(*pair) for pair in pairs], Confusion()
    for truth, score in zip(truths, scores, strict=True):
        table.add(truth, score > -0.2)
    right, wrong = ([s for s, t in zip(scores, truths, strict=True) if t is kind] for kind in (True, False))
    area = sum((r > w) + (r == w) / 2 for r in right for w in wrong) / (len(right) * len(wrong))
    return {
        "n_right": len(right),
        "true_accept": table.true_accept,
        "n_wrong": len(wrong),
        "true_reject": table.true_reject,
        "area": area,
    }


def write_outcome_card(folder: Path, measured: dict[str, dict[str, float]]) -> Path:
    rows = "\n".join(
        f"| {name} | {m['n_right']} / {m['n_wrong']} | {m['true_accept']:.1%} | {m['true_reject']:.1%} | {m['area']:.2f} |"
        for name, m in measured.items()
    )
    values = {
        "rows": rows,
        "answers": ANSWERS,
        "epochs": EPOCHS,
        "batch": BATCH,
        "rate": f"{RATE:g}",
        "policies": ", ".join(POLICIES),
    }
    (folder / "README.md").write_text(TEMPLATE.read_text(encoding="utf-8").format(**values), encoding="utf-8")
    return folder / "README.md"
