"""Training of an embedded model: stages of a fixed number of tokens, resumed where it stopped."""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase, Qwen2Config

from .examples import Encoder, Mixture, OwnAnswers, batches, draw_example
from .tokenizer import train_tokenizer


@dataclass(frozen=True)
class Stage:
    """One stretch of training: how many tokens of which mixture, at which learning rate.

    With `decay` the learning rate falls to zero over the last 40 %. With `sample_own`, that many answers of the model itself
    are sampled before the stage begins.
    """

    name: str
    tokens: int
    mixture: Mixture
    learning_rate: float
    decay: bool = False
    sample_own: int = 0


@dataclass(frozen=True)
class Recipe:
    """Everything that makes an embedded model: its shape, the stages, the seed."""

    config: Qwen2Config
    stages: tuple[Stage, ...]
    seed: int = 0
    batch_tokens: int = 4096
    checkpoint_steps: int = 250


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
    mixture = Mixture(solve=0.5, verify=0.5)
    for _ in range(3000):
        _, (messages, reply) = draw_example(rng, mixture, ())
        texts += [*(m["content"] for m in messages), reply]
    texts += ["FINAL VERIFICATION ANSWER IS: True FINAL VERIFICATION ANSWER IS: False"] * 100
    texts += ["Carefully: So: Compare."] * 100
    return train_tokenizer(texts)


class Trainer:
    """Trains by a recipe in `folder`, writing checkpoints and continuing from the last one found."""

    def __init__(self, recipe: Recipe, folder: Path):
        self.recipe, self.folder = recipe, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer = self._tokenizer()
        torch.manual_seed(recipe.seed)
        self.model = AutoModelForCausalLM.from_config(recipe.config)
        matrices = [p for n, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in n]
        others = [p for n, p in self.model.named_parameters() if p.ndim != 2 or "embed" in n]
        self.optimisers = [Muon(matrices, lr=1e-3), torch.optim.AdamW(others, lr=1e-3, weight_decay=0.0)]
        self.own: OwnAnswers = ()
        self.done = {"stage": 0, "tokens": 0, "steps": 0}
        self.checkpoint = folder / "checkpoint.pt"
        if self.checkpoint.exists():
            self._restore()

    def _tokenizer(self) -> PreTrainedTokenizerBase:
        """Made once: a training that goes on must not get another one because the generator has changed since."""
        folder = self.folder / "model"
        if not (folder / "tokenizer.json").exists():
            make_tokenizer(self.recipe.seed).save_pretrained(folder)
        return AutoTokenizer.from_pretrained(folder)

    def _save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimisers": [o.state_dict() for o in self.optimisers],
            "own": self.own,
            "done": self.done,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.checkpoint)

    def _restore(self) -> None:
        state = torch.load(self.checkpoint, weights_only=False)
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.own, self.done = state["own"], state["done"]

    def run(self) -> None:
        """Runs the stages not yet done, then writes the model and its tokenizer into `folder/model`."""
        for index in range(self.done["stage"], len(self.recipe.stages)):
            self._run_stage(self.recipe.stages[index], index)
            self.done |= {"stage": index + 1, "tokens": 0, "steps": 0}
            self._save()
        self.model.save_pretrained(self.folder / "model")

    def _run_stage(self, stage: Stage, index: int) -> None:
        if stage.sample_own and not self.done["steps"]:
            from .measure import sample_own_answers

            self.own = sample_own_answers(self.model, self.tokenizer, stage.sample_own, seed=self.recipe.seed + index)
        source = self._source(stage, index)
        with tqdm(total=stage.tokens, initial=self.done["tokens"], unit="tok", desc=stage.name, mininterval=10) as bar:
            while self.done["tokens"] < stage.tokens:
                ids, weights = next(source)
                loss = self._step(stage, ids, weights)
                self.done["tokens"] += ids.numel()
                self.done["steps"] += 1
                bar.update(ids.numel())
                if self.done["steps"] % 25 == 0:
                    bar.set_postfix(loss=f"{loss:.3f}")
                if self.done["steps"] % self.recipe.checkpoint_steps == 0:
                    self._save()
                    self._log(stage, loss)
                    source = self._source(stage, index)

    def _source(self, stage: Stage, index: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches from here on, drawn anew at each checkpoint, so that an interrupted training is the same as an unbroken one."""
        rng = random.Random(f"{self.recipe.seed}/{index}/{self.done['steps']}")
        return batches(rng, stage.mixture, self.own, Encoder(self.tokenizer), self.recipe.batch_tokens)

    def _step(self, stage: Stage, ids: torch.Tensor, weights: torch.Tensor) -> float:
        left = 1 - self.done["tokens"] / stage.tokens
        warm = min(1.0, (self.done["steps"] + 1) / 50)
        rate = stage.learning_rate * warm * (min(1.0, left / 0.4) if stage.decay else 1.0)
        loss = weighted_loss(self.model, ids, weights)
        loss.backward()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad()
        return loss.item()

    def _log(self, stage: Stage, loss: float) -> None:
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps({**self.done, "stage": stage.name, "loss": round(loss, 4)}) + "\n")
