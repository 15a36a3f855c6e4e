"""What to know of a model before a long run, measured on the model at hand: `latentseek doctor MODEL`.

Is the head right, what does the model really read, does a batch change its answers, how fast is it, how large are steps in its
latent space, how long will the run take? Each section of the report answers one of these; `advice` says what to do about it.
"""

import resource
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.console import Group
from rich.padding import Padding
from rich.text import Text
from scipy.stats import t
from torch.utils.benchmark import Timer

from ..answers import extract_answer
from ..configs import RunConfig
from ..optimisers import flip_scales
from ..policy import Completion, Policy, shared_length
from ..problems import Problem, load_benchmark
from ..prompts import prompt_style, render_prompt
from ..runs import load_runs, run
from ..settings import OPTIMIZERS, SeekConfig

BATCH_SIZES = (1, 4, 16, 32)
PATIENCE = 20.0  # seconds: no larger batch is tried behind one that took longer, and answers alone are cut to take as long
SLOW = 1.5  # a precision that takes so many times as long as float32 is advised against
FLIPPED = 0.05  # share of the prefixes' tokens that the step size looked for changes

Facts = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """All that was found; the functions that fill the sections say what is in them."""

    model: Facts
    prompt: Facts
    speeds: list[Facts]
    answers: Facts
    latents: Facts
    run: Facts

    def as_dict(self) -> Facts:
        """Plain values for JSON, the advice among them."""
        return asdict(self) | {"advice": advice(self)}


def examine(policy: Policy, config: RunConfig, *, count: int = 8, sizes: Sequence[int] = BATCH_SIZES) -> Report:
    """Measures a model for the run that a configuration describes, on `count` problems spread over that run's.

    Raises:
        ValueError: unknown benchmark or prompt, a prompt that doesn't fit into the context, or fewer than two problems.
    """
    known = load_benchmark(config.benchmark, split=config.split, limit=config.limit)
    if min(count, len(known)) < 2:
        raise ValueError(f"{min(count, len(known))} problem shows no spread; measure on two at least (--problems, --limit)")
    problems = [known[int(i)] for i in np.linspace(0, len(known) - 1, min(count, len(known)))]
    prompts = [policy.encode(render_prompt(p, style=config.prompt, folder=policy.folder)) for p in problems]
    model, prompt = look_at_model(policy, prompts[0]), look_at_prompt(policy, problems[0], config)
    speeds = measure_speed(policy, prompts, sizes)
    limits = {"max_new_tokens": config.max_new_tokens, "keep_latents": config.max_latents}
    completions = policy.generate(prompts, **limits, progress="answers")
    affordable = max(8, int(PATIENCE * speeds[0]["decoding"] / len(prompts)))
    answers = look_at_answers(policy, problems, completions, config)
    answers |= compare_alone(policy, prompts, completions, min(affordable, config.max_new_tokens))
    latents = measure_latents(policy, completions, config.seek_config())
    return Report(model, prompt, speeds, answers, latents, estimate(policy, config, problems, len(known), speeds))


@torch.no_grad()
def look_at_model(policy: Policy, prompt: Sequence[int]) -> Facts:
    """The model's shape, the largest difference between head ∘ backbone and the model's own logits (`head_error`, to be seen against
    `largest_logit`) on a prompt, and how many times as long as in float32 a matrix product takes (`times_float32`)."""
    model, ids, weight = policy.model, torch.tensor([prompt], device=policy.device), policy.head_module.weight
    own = model(input_ids=ids, use_cache=False).logits.float()
    ours = policy.head(policy.backbone(input_ids=ids, use_cache=False).last_hidden_state).float()
    error, largest = (own - ours).abs().max().item(), own.abs().max().item()
    right = error <= (1e-4 if policy.dtype == torch.float32 else 2e-2) * (1 + largest)
    shape = {"parameters": model.num_parameters(), "vocabulary": weight.shape[0], "hidden_size": weight.shape[1]}
    place = {"dtype": str(policy.dtype).removeprefix("torch."), "device": str(policy.device)}
    place["times_float32"] = times_float32(weight) if weight.dtype in (torch.bfloat16, torch.float16) else None
    reach = {"context_length": policy.context_length, "window": policy.window}
    head = {"tied": weight is model.get_input_embeddings().weight, "head_error": error, "largest_logit": largest}
    return {"name": policy.name, "class": type(model).__name__} | shape | place | reach | head | {"head_right": right}


def times_float32(weight: torch.Tensor) -> float:
    """How many times as long a product with some rows of a weight takes in its own precision as in float32: more than once on a
    processor that has no instructions for half precision."""
    rows, batch = weight[:2048], torch.zeros(32, weight.shape[1], dtype=weight.dtype, device=weight.device)
    timers = [
        Timer("linear(x, w)", globals={"linear": torch.nn.functional.linear, "x": batch.to(dtype), "w": rows.to(dtype)})
        for dtype in (weight.dtype, torch.float32)
    ]
    own, full = (timer.blocked_autorange(min_run_time=0.2).median for timer in timers)
    return own / full


def look_at_prompt(policy: Policy, problem: Problem, config: RunConfig) -> Facts:
    """What the model reads: prompts by style with special tokens (`texts`), the BOS that they begin with and that plain text
    would (`bos`, `plain_bos`); what becomes of system messages (`kept`, `merged` into the user's, `lost`); `stops` by id."""
    styles = dict.fromkeys(["boxed", "json", config.prompt])
    read = {style: policy.encode(render_prompt(problem, style=style, folder=policy.folder)) for style in styles}
    mark = policy.tokenizer.bos_token_id
    bos, plain = (shared_length([ids, [mark] * len(ids)]) for ids in (read[config.prompt], policy.encode("a")))
    template = {"chat_template": bool(policy.tokenizer.chat_template), "system": _system_role(policy)}
    stops = {i: policy.decode_text([i], special_tokens=True) for i in sorted(policy.stop_ids)}
    texts = {style: policy.decode_text(ids, special_tokens=True) for style, ids in read.items()}
    return template | {"bos": bos, "plain_bos": plain, "stops": stops, "texts": texts}


def _system_role(policy: Policy) -> str:
    user = {"role": "user", "content": "Begin."}
    text = policy.render([{"role": "system", "content": "Count sheep."}, user])
    merged = policy.render([user | {"content": "Count sheep.\n\nBegin."}])
    return "merged" if text == merged else "kept" if "Count sheep." in text else "lost"


def measure_speed(policy: Policy, prompts: Sequence[Sequence[int]], sizes: Sequence[int] = BATCH_SIZES) -> list[Facts]:
    """Tokens a second, of prompts (`reading`) and of answers (`decoding`), and most `memory` in bytes, by batch size, up to where
    memory or patience ends. Memory is that of the tensors on a GPU, else of the whole process."""
    _, seconds, _ = _measured(policy, prompts[:1], max_new_tokens=8, stop_ids=())
    length, found = min(64, max(8, int(8 / seconds))), []
    for size in sizes:
        batch = [prompts[i % len(prompts)] for i in range(size)]
        opened, reading, memory = _measured(policy, batch, max_new_tokens=0, remember=0)
        after = [o.memory for o in opened]
        done, decoding, more = _measured(policy, batch, max_new_tokens=length, stop_ids=(), after=after)
        if policy.batch_size < size:  # the policy had no memory for so many
            break
        rates = {"reading": sum(map(len, batch)) / reading, "decoding": sum(c.decoded for c in done) / decoding}
        found.append({"batch": size} | rates | {"memory": max(memory, more)})
        if reading + decoding > PATIENCE:
            break
    return found


def _measured(policy: Policy, prompts: Sequence[Sequence[int]], **how) -> tuple[list[Completion], float, int]:
    """Completions, the seconds they took, and the most memory meanwhile."""
    if cuda := policy.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(policy.device)
    else:
        with suppress(OSError):  # Linux counts the peak anew; elsewhere it is that of the process since it began
            Path("/proc/self/clear_refs").write_text("5")
    started = time.perf_counter()
    done = policy.generate(prompts, **how)
    seconds, unit = time.perf_counter() - started, 1 if sys.platform == "darwin" else 1024
    peak = torch.cuda.max_memory_allocated(policy.device) if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return done, seconds, peak


def look_at_answers(policy: Policy, problems: Sequence[Problem], completions: Sequence[Completion], config: RunConfig) -> Facts:
    """Of `n` greedy answers, how many state an answer in the format asked for (`formatted`) and how many the length limit `cut`;
    their `tokens` on average."""
    how = {"style": prompt_style(config.prompt, policy.folder), "benchmark": problems[0].benchmark}
    formatted = sum(extract_answer(policy.decode_text(c.token_ids), **how) is not None for c in completions)
    tokens, cut = sum(len(c.token_ids) for c in completions), sum(not c.finished for c in completions)
    return {"n": len(completions), "formatted": formatted, "cut": cut, "tokens": tokens / len(completions)}


def compare_alone(policy: Policy, prompts: Sequence[Sequence[int]], completions: Sequence[Completion], limit: int) -> Facts:
    """The answers of a batch beside the same answers alone, up to `compared` tokens each: how many are the `same`, and the share
    of their tokens before the first difference (`same_tokens`)."""
    alone = [policy.generate([prompt], max_new_tokens=limit)[0].token_ids for prompt in prompts]
    pairs = list(zip(alone, (c.token_ids[:limit] for c in completions), strict=True))
    shared = sum(map(shared_length, pairs)) / sum(max(map(len, pair)) for pair in pairs)
    return {"compared": limit, "same": sum(one == other for one, other in pairs), "same_tokens": shared}


@torch.no_grad()
def measure_latents(policy: Policy, completions: Sequence[Completion], config: SeekConfig) -> Facts:
    """Medians over the answers' latents: their `norm`, and how far the first logit is above the second (`margin`; `margin_low` is
    its 5 % quantile). The first step changes the share `flipped` of the prefixes at the run's η, about 5 % at `eta_five`."""
    top = torch.cat([policy.head(c.latents).float().topk(2).values.cpu() for c in completions])
    norms = torch.cat([c.latents.float().norm(dim=-1).cpu() for c in completions])
    margins, sizes = top[:, 0] - top[:, 1], torch.cat([flip_sizes(policy, c, config) for c in completions])
    found = {"n": len(norms), "norm": norms.median().item(), "margin": margins.median().item()}
    found |= {"margin_low": margins.quantile(0.05).item(), "prefix": len(sizes), "eta": config.learning_rate}
    if not len(sizes):
        return found | {"flipped": None, "eta_five": None}
    five = sizes.quantile(FLIPPED, interpolation="midpoint").item()
    flipped = (sizes < config.learning_rate).float().mean().item()
    return found | {"flipped": flipped, "eta_five": five if five < torch.inf else None}


def flip_sizes(policy: Policy, completion: Completion, config: SeekConfig) -> torch.Tensor:
    """For each latent of an answer's prefix, the smallest η whose first step, at a reward of −1, makes it read as another token.

    That step is η times a direction that η doesn't change, with Adam as with the plain step; infinite where no token is overtaken.
    """
    n, rules = config.n_latents(len(completion.token_ids)), config.rules
    if n == 0:
        return torch.zeros(0)
    z, tokens = rules.latents(completion.latents[:n]), completion.token_ids[:n]
    before = z.clone()
    with torch.enable_grad():
        optimizer = OPTIMIZERS[config.optimizer]([z.requires_grad_()], lr=1.0)
        rules.log_probability(policy, z, rules.prefix(policy, tokens)).backward()
        optimizer.step()
    return flip_scales(policy, before, z - before, tokens).float().cpu()


def estimate(policy: Policy, config: RunConfig, problems: Sequence[Problem], n: int, speeds: Sequence[Facts]) -> Facts:
    """What the run of `n` problems will take, by running it on a few (`measured`). `tokens` a problem are those of answers and
    verdicts, from `low` to `high`: Student's 99 % interval of the mean, which from eight problems held the true one 95 times in
    100 (a few long searches make counts skewed). `unreadable` is the share of verdicts that could not be read.

    `hours` go from the fewest such tokens, at what full batches gain by `speeds`, to the most, at the speed of the few.
    """
    with TemporaryDirectory() as folder:
        only = {"out": Path(folder) / "measured", "ids": [problem.id for problem in problems]}
        rows = load_runs(run(config.model_copy(update=only), policy))
    spent = rows.answer_tokens + rows.verifier_tokens
    mean, margin = float(spent.mean()), float(t.ppf(0.995, len(spent) - 1) * spent.sem())
    low, high = max(float(spent.min()), mean - margin), mean + margin
    batches, rates = zip(*((s["batch"], s["decoding"]) for s in speeds), strict=True)
    few, full = map(float, np.interp([len(rows), min(n, config.batch_size)], batches, rates))
    slow = float(rows.seconds.sum() / spent.sum()) * n / 3600
    hours = {"low": low * slow * min(1.0, few / full), "high": high * slow}
    verdicts = [verdict for steps in rows.steps for step in steps for verdict in step.get("checks", {}).values()]
    unreadable = verdicts.count(None) / len(verdicts) if verdicts else None
    what = {"benchmark": config.benchmark, "n": n, "method": config.method, "reward": config.reward, "measured": len(rows)}
    return what | {"tokens": {"mean": mean, "low": low, "high": high}, "hours": hours, "unreadable": unreadable}


def advice(report: Report) -> list[str]:
    """What needs doing, a sentence each; nothing where all is well."""
    model, prompt, answers, latents = report.model, report.prompt, report.answers, report.latents
    n, eta, changed, unread = answers["n"], latents["eta"], latents["flipped"], report.run["unreadable"] or 0
    better = f"; try η = {latents['eta_five']:.2g}" if latents["eta_five"] else ""
    slower = model["times_float32"] or 0
    ways = "accept it" if model["dtype"] == "float32" else "take --dtype float32, or accept it"
    said = [
        (not model["head_right"], "The head does not give the model's own logits: don't use this model."),
        (slower > SLOW, f"{model['dtype']} is {slower:.1f} times as slow as float32 here: take --dtype float32 if it fits."),
        (not prompt["chat_template"], "No chat template: prompts go in as plain text. Is there an instruct version?"),
        (prompt["system"] == "lost", "The template drops system messages: use a prompt without one (--prompt FILE.yaml)."),
        (prompt["bos"] > 1, "Prompts begin with more than one BOS: mend the chat template."),
        (prompt["plain_bos"] > prompt["bos"], "The template writes no BOS, but plain text gets one: see the model's card."),
        (not prompt["stops"], "No stop token: every answer runs to the length limit."),
        (answers["same"] < n, f"A batch changes answers: {ways} and compare runs of one batch size only."),
        (answers["formatted"] < n, f"{n - answers['formatted']} of {n} answers miss the format: try another --prompt."),
        (answers["cut"] > 0, f"{answers['cut']} of {n} answers were cut: raise --max-new-tokens."),
        (unread > 0, f"{unread:.1%} of verdicts can't be read and count as failed: try verifiers in other words."),
        (changed is None, "No answer is long enough for a latent at this ρ."),
        (changed == 0, f"The first step at η = {eta:g} changes no token{better}."),
        ((changed or 0) > 0.25, f"The first step at η = {eta:g} changes {changed or 0:.0%} of the tokens{better}."),
    ]
    return [sentence for needed, sentence in said if needed]


def page(report: Report) -> Group:
    """The report for reading."""
    m, p, a, z, r = report.model, report.prompt, report.answers, report.latents, report.run
    stops = ", ".join(f"{text} ({i})" for i, text in p["stops"].items()) or "none"
    step = f"η = {z['eta']:g} changes {z['flipped'] or 0:.1%} of {z['prefix']} tokens in the first step"
    window, five = f", sliding window {m['window']}" * bool(m["window"]), z["eta_five"]
    sections = {
        f"{m['name']} ({m['class']})": [
            f"{m['parameters']:,} parameters, vocabulary {m['vocabulary']:,}, hidden size {m['hidden_size']:,}",
            f"{m['dtype']} on {m['device']}, context {m['context_length'] or 'unlimited'}{window}",
            f"head {'right' if m['head_right'] else 'WRONG'} (off by {m['head_error']:.2g}), {'' if m['tied'] else 'not '}tied",
        ],
        "Prompt": [
            f"chat template {'found' if p['chat_template'] else 'missing'}, system message {p['system']}",
            f"BOS {p['bos'] or 'none'}, stop tokens {stops}",
            *(f"{style}: {_ends(text)}" for style, text in p["texts"].items()),
        ],
        f"Speed (memory: {'tensors on the GPU' if m['device'].startswith('cuda') else 'the whole process'})": [
            f"batch {s['batch']}: {s['decoding']:,.0f} tokens/s written, {s['reading']:,.0f} read, {s['memory'] / 2**30:.2f} GiB"
            for s in report.speeds
        ],
        "Answers": [
            f"greedy: {a['formatted']} of {a['n']} in the format, {a['cut']} cut, {a['tokens']:.0f} tokens each",
            f"in a batch: {a['same']} of {a['n']} as alone in {a['compared']} tokens, {a['same_tokens']:.1%} before they part",
        ],
        "Latents": [
            f"norm of z {z['norm']:.3g} (median)",
            f"first logit above the second by {z['margin']:.3g} (median), {z['margin_low']:.2g} (5 % quantile)",
            f"{step}, η = {five:.2g} about 5 %" if five else step,
        ],
        f"{' '.join(filter(None, (r['method'], r['reward'])))} on {r['n']:,} problems of {r['benchmark']}": [
            f"{_duration(r['hours']['low'])} to {_duration(r['hours']['high'])}, measured on {r['measured']} problems",
            "{mean:,.0f} tokens a problem, likely from {low:,.0f} to {high:,.0f}".format(**r["tokens"]),
        ],
        "To do": advice(report) or ["nothing: go on"],
    }
    parts = (
        (Text(title, style="bold"), Padding(Text("\n".join(rows)), (0, 0, 1, 2), expand=False))
        for title, rows in sections.items()
    )
    return Group(*(part for pair in parts for part in pair))


def _ends(text: str, width: int = 200) -> str:
    shown = text if len(text) <= 2 * width else f"{text[:width]} … {text[-width:]}"
    return shown.replace("\n", "↵")


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{max(1, round(hours * 60))} min"
