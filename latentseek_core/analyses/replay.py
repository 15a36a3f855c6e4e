"""One search to step through: a piece of HTML that needs nothing but a browser, as a file or among a notebook's outputs.

Every step is written out, escaped, by the template `replay.html`; the script in it only shows one step at a time. What changed is told
by weight and lines as well as by colour, and everything under the pointer can be had by the keyboard.
"""

import hashlib
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jinja2 import Template

from ..answers import extract_answer, is_correct
from ..policy import Policy
from ..problems import Problem
from ..prompts import prompt_style
from ..seek import SeekResult, SeekStep
from ..settings import SeekConfig

TEMPLATE = Path(__file__).with_suffix(".html")
VERDICTS = {True: "✓ passed", False: "✗ failed", None: "? unreadable"}


def replay_html(
    policy: Policy,
    problem: Problem,
    steps: SeekResult | Sequence[SeekStep],
    *,
    config: SeekConfig | None = None,
    prompt: str | Path = "boxed",
    top: int = 5,
) -> str:
    """A search to step through by buttons, slider and arrow keys; the same text serves as a file and as a notebook's output.

    Args:
        policy: the model that searched.
        steps: from `seek_steps`; those of a `SeekResult` have no latents, so that no alternatives can be shown.
        config: the search's settings, the clean defaults if not given.
        prompt: the solver prompt, which says in what form the answer stands.
        top: alternatives shown at each latent.

    Raises:
        ValueError: no steps.
    """
    steps, config = steps.steps if isinstance(steps, SeekResult) else list(steps), config or SeekConfig()
    if not steps:
        raise ValueError("a replay needs at least one step; give what seek_steps yields, or a result of seek")
    settings = f"{policy.name}, ρ = {config.rho:g}, η = {config.learning_rate:g}, at most {config.max_iterations} iterations"
    shown = {"problem": problem, "settings": settings, "top": top, "verdicts": VERDICTS}
    first = config.first_latent(len(steps[0].answer_ids))
    shown["steps"] = [
        _step(policy, step, before, first, config, top) for step, before in zip(steps, [None, *steps], strict=False)
    ]
    for view, step in zip(shown["steps"], steps, strict=True):
        view |= _graded(problem, step, prompt_style(prompt, policy.folder))
    name = hashlib.sha256(repr(shown).encode()).hexdigest()[:12]  # so that each script finds its own part of a page
    return Template(TEMPLATE.read_text(encoding="utf-8"), autoescape=True).render(shown, id=name)


@torch.no_grad()
def alternatives(
    policy: Policy, latents: torch.Tensor, *, top: int = 5, bare_head: bool = False
) -> list[list[tuple[int, float]]]:
    """The `top` most probable tokens at each latent under π(· | z_t), the likeliest first, with their probabilities."""
    best = policy.head(latents, bare=bare_head).float().softmax(-1).topk(top)
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [list(zip(tokens, probabilities, strict=True)) for tokens, probabilities in pairs]


def new_tokens(before: Sequence[int], after: Sequence[int]) -> set[int]:
    """Positions of `after` that an alignment with `before` finds no partner for."""
    blocks = SequenceMatcher(a=list(before), b=list(after), autojunk=False).get_matching_blocks()
    return set(range(len(after))) - {start + i for _, start, size in blocks for i in range(size)}


def _step(policy: Policy, step: SeekStep, before: SeekStep | None, first: int, config: SeekConfig, top: int) -> dict[str, Any]:
    """What the template shows of a step."""
    last = before or step
    n, goes_on = len(step.prefix_ids), step.reward <= config.reward_threshold
    new = {n + i for i in new_tokens(last.answer_ids[len(last.prefix_ids) :], step.answer_ids[n:])}
    choices = [[] for _ in range(n)]
    if step.latents is not None and n:
        choices[first:] = alternatives(policy, step.latents[: n - first], top=top, bare_head=config.rules.bare_head)
    tokens = []
    for t, text in enumerate(_texts(policy, step.answer_ids)):
        token = {"text": text, "latent": first <= t < n, "flipped": t in step.changed, "new": t in new}
        if t < n:
            token["was"] = _text(policy, last.prefix_ids[t]) if t < len(last.prefix_ids) else "nothing"
            token["alternatives"] = [(_text(policy, other), f"{p:.3f}") for other, p in choices[t]]
        tokens.append(token)
    return {
        "title": "the chain of thought" if before is None else f"{len(step.changed)} of {n} latents read otherwise",
        "tokens": tokens,
        "n_latents": n,
        "reward": f"{step.reward:.2f}",
        "consequence": f"{'not ' if goes_on else ''}above τ = {config.reward_threshold:g}: the search {'goes on' if goes_on else 'ends'}",
        "checks": list(step.checks.items()),
        "cost": _cost(step),
    }


def _cost(step: SeekStep) -> str:
    loss = "" if step.loss is None else f"; loss {step.loss:.3g}"
    spent = f"{step.decoded_tokens} tokens decoded for the answer, {step.verifier_tokens} for verdicts"
    return f"{spent}; length of all latents together {step.latent_norm:.4g}{loss}."


def _graded(problem: Problem, step: SeekStep, style: str) -> dict[str, Any]:
    how = {"style": style, "benchmark": problem.benchmark}
    stated = extract_answer(step.answer_text, **how)
    return {"answer": "none" if stated is None else stated, "right": is_correct(step.answer_text, problem.answer, **how)}


def _texts(policy: Policy, token_ids: Sequence[int]) -> list[str]:
    """The text that each token adds behind the one before it: some tokenizers give a word its blank only there."""
    texts = [_text(policy, token) for token in token_ids[:1]]
    for before, token in pairwise(token_ids):
        both = policy.decode_text([before, token], special_tokens=True)
        texts.append(both[len(policy.decode_text([before], special_tokens=True)) :].replace("\n", "↵\n"))
    return texts


def _text(policy: Policy, token: int) -> str:
    """One token, its line breaks visible."""
    return policy.decode_text([token], special_tokens=True).replace("\n", "↵\n") or "∅"
