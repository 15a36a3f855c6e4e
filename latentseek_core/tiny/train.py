"""Training of an embedded model: stages of a fixed number of tokens, resumed where it stopped."""

import csv
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from .examples import Encoder, Mixture, OwnAnswers, batches, draw_example
from .tokenizer import train_tokenizer


@dataclass(frozen=True)
class Stage:
    """One stretch of training: how many tokens of which mixture, at which learning rate, how many of them a step.

    With `decay` the learning rate falls to zero over the last 40 %. With `sample_own`, that many answers of the model itself
    are sampled before the stage begins.
    """

    name: str
    tokens: int
    mixture: Mixture
    learning_rate: float
    batch_tokens: int = 2048
    decay: bool = False
    sample_own: int = 0


@dataclass(frozen=True)
class Recipe:
    """Everything that makes an embedded model: its shape, the stages, the seed, the smaller model that it grows from (if any)."""

    config: PreTrainedConfig
    stages: tuple[Stage, ...]
    seed: int = 0
    grown_from: str = ""
    checkpoint_steps: int = 150


@dataclass
class Progress:
    """How far a training has come: the stage, and what was read in it and in all; the loss, averaged over the last steps."""

    stage: int = 0
    tokens: int = 0
    steps: int = 0
    tokens_in_all: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal by five Newton-Schulz steps, scaled to the size of an Adam step.

    As torch.optim.Muon, but in float32: that one iterates in bfloat16, which older CPUs emulate at a fraction of the speed.
    """

    def __init__(self, params: Iterable[torch.Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.Tensor]] = {}
            for p in group["params"]:
                buffer = self.state[p].setdefault("momentum", torch.zeros_like(p))
                buffer.mul_(group["momentum"]).add_(p.grad)
                shapes.setdefault(p.shape, []).append(p)
            for shape, params in shapes.items():
                update = torch.stack([p.grad + group["momentum"] * self.state[p]["momentum"] for p in params])
                scale = 0.2 * max(shape) ** 0.5 * group["lr"]
                for p, direction in zip(params, orthogonalise(update), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction, alpha=scale)


def orthogonalise(x: torch.Tensor) -> torch.Tensor:
    """Approximately the nearest orthogonal matrices to `x` [n, rows, columns], by Newton-Schulz (Jordan et al. 2024)."""
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


def weighted_loss(model: torch.nn.Module, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the reply tokens, weighted; the head sees only the positions that count."""
    hidden = model.model(ids[:, :-1], use_cache=False).last_hidden_state
    counted = weights[:, 1:] > 0
    losses = F.cross_entropy(model.lm_head(hidden[counted]), ids[:, 1:][counted], reduction="none")
    return (losses * weights[:, 1:][counted]).sum() / weights.sum()


def make_tokenizer(seed: int) -> PreTrainedTokenizerBase:
    """The tokenizer, trained on a few thousand examples of all kinds."""
    rng, texts = random.Random(seed), []
    mixture = Mixture(solve=0.4, maths=0.2, verify=0.4)
    for _ in range(4000):
        _, (messages, reply) = draw_example(rng, mixture, ())
        texts += [*(m["content"] for m in messages), reply]
    texts += ["FINAL VERIFICATION ANSWER IS: True FINAL VERIFICATION ANSWER IS: False"] * 100
    texts += ["Carefully: So: Compare."] * 100
    return train_tokenizer(texts)


@torch.no_grad()
def grow(model: PreTrainedModel, small: PreTrainedModel) -> None:
    """Sets a deeper model's weights so that it computes what the shallower one does: each new layer is a copy of the layer below
    whose two outputs are zero, so that it changes nothing until it is trained.

    Raises:
        ValueError: the models differ in more than their number of layers.
    """
    deep, shallow = model.model.layers, small.model.layers
    shapes = [{n: p.shape for n, p in m.named_parameters() if ".layers." not in n} for m in (model, small)]
    if shapes[0] != shapes[1] or len(deep) < len(shallow):
        raise ValueError("a model can only grow from one of the same shape with fewer layers")
    model.load_state_dict({n: p for n, p in small.state_dict().items() if ".layers." not in n}, strict=False)
    for index, layer in enumerate(deep):
        source = index * len(shallow) // len(deep)
        layer.load_state_dict(shallow[source].state_dict())
        if index and source == (index - 1) * len(shallow) // len(deep):
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()


class Trainer:
    """Trains by a recipe in `folder`, writing checkpoints and continuing from the last one found.

    In `folder` there will be `model` (the finished model), `stages/N` (the model after stage N) and `log.csv`.
    """

    def __init__(self, recipe: Recipe, folder: Path, *, small: Path | None = None, device: str = "auto"):
        self.recipe, self.folder, self.small = recipe, folder, small
        self.device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer = self._tokenizer()
        torch.manual_seed(recipe.seed)
        self.model = AutoModelForCausalLM.from_config(recipe.config, dtype=torch.float32)
        if small:
            grow(self.model, AutoModelForCausalLM.from_pretrained(small, dtype=torch.float32))
        self.model.to(self.device)
        matrices = [p for n, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in n]
        others = [p for n, p in self.model.named_parameters() if p.ndim != 2 or "embed" in n]
        self.optimisers = [Muon(matrices, lr=1e-3), torch.optim.AdamW(others, lr=1e-3, weight_decay=0.0)]
        self.own: OwnAnswers = ()
        self.done = Progress()
        self.checkpoint = folder / "checkpoint.pt"
        if self.checkpoint.exists():
            self._restore()

    def _tokenizer(self) -> PreTrainedTokenizerBase:
        """Made once: a training that goes on must not get another one because the generator has changed since. Read as the plain
        class that it is: beside a model's configuration, transformers takes it for that family's."""
        folder = self.folder / "model"
        if not (folder / "tokenizer.json").exists():
            made = PreTrainedTokenizerFast.from_pretrained(self.small) if self.small else make_tokenizer(self.recipe.seed)
            made.save_pretrained(folder)
        return PreTrainedTokenizerFast.from_pretrained(folder)

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimisers": [o.state_dict() for o in self.optimisers],
            "own": self.own,
            "done": asdict(self.done),
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _restore(self) -> None:
        state = torch.load(self.checkpoint, weights_only=False, map_location=self.device)
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.own, self.done = state["own"], Progress(**state["done"])

    def run(self) -> None:
        """Runs the stages not yet done; the model and its tokenizer are written after each, and at the end into `folder/model`."""
        for index in range(self.done.stage, len(self.recipe.stages)):
            self._run_stage(self.recipe.stages[index], index)
            self.done.stage, self.done.tokens, self.done.steps = index + 1, 0, 0
            self.export(self.folder / "stages" / str(index + 1))
            self._save()
        self.export(self.folder / "model")

    def export(self, folder: Path) -> None:
        """Writes the model in half precision (rounded, the file half as large) with its tokenizer."""
        weights = {name: tensor.half() for name, tensor in self.model.state_dict().items()}
        self.model.save_pretrained(folder, state_dict=weights)
        self.tokenizer.save_pretrained(folder)

    def _run_stage(self, stage: Stage, index: int) -> None:
        if stage.sample_own and not self.done.steps:
            from .measure import sample_own_answers

            self.own = sample_own_answers(self.model, self.tokenizer, stage.sample_own, seed=self.recipe.seed + index)
        source, began = self._source(stage, index), time.perf_counter()
        with tqdm(total=stage.tokens, initial=self.done.tokens, unit="tok", desc=stage.name, mininterval=10) as bar:
            while self.done.tokens < stage.tokens:
                ids, weights = next(source)
                self.done.losses.append(self._step(stage, ids.to(self.device), weights.to(self.device)))
                self.done.tokens += ids.numel()
                self.done.tokens_in_all += ids.numel()
                self.done.steps += 1
                bar.update(ids.numel())
                if self.done.steps % self.recipe.checkpoint_steps == 0 or self.done.tokens >= stage.tokens:
                    self.done.seconds, began = self.done.seconds + time.perf_counter() - began, time.perf_counter()
                    bar.set_postfix(loss=f"{self._log(stage):.3f}")
                    self._save()
                    source = self._source(stage, index)

    def _source(self, stage: Stage, index: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches from here on, drawn anew at each checkpoint, so that an interrupted training is the same as an unbroken one."""
        rng = random.Random(f"{self.recipe.seed}/{index}/{self.done.steps}")
        return batches(rng, stage.mixture, self.own, Encoder(self.tokenizer), stage.batch_tokens)

    def _step(self, stage: Stage, ids: torch.Tensor, weights: torch.Tensor) -> float:
        left = 1 - self.done.tokens / stage.tokens
        warm = min(1.0, (self.done.steps + 1) / 50)
        rate = stage.learning_rate * warm * (min(1.0, left / 0.4) if stage.decay else 1.0)
        loss = weighted_loss(self.model, ids, weights)
        loss.backward()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad()
        return loss.item()

    def _log(self, stage: Stage) -> float:
        """Adds a line to the log, which the model card's curve is drawn from; returns the mean loss since the last one."""
        path, loss = self.folder / "log.csv", sum(self.done.losses) / len(self.done.losses)
        new = not path.exists()
        with path.open("a", newline="") as file:
            log = csv.writer(file, lineterminator="\n")
            if new:
                log.writerow(["stage", "tokens", "seconds", "loss"])
            log.writerow([stage.name, self.done.tokens_in_all, round(self.done.seconds), round(loss, 4)])
        self.done.losses.clear()
        return loss
