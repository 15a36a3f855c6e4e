"""The old answer as a draft, measured outside the core: is it worth building in?

An iteration changes a few tokens of the opening and decodes the rest anew. The old rest can be tried first: one forward reads it
behind the new opening, and what greedy decoding agrees with, from its start on, need not be decoded. As decoding is greedy, that is
exactly what the old and the new rest begin with in common.
"""

import random
from dataclasses import dataclass
from typing import Annotated

import pandas as pd
import typer
from common import alternate
from embedded import embedded

from latentseek_core import Policy, SeekConfig, SelfReward, render_prompt, seek


@dataclass(frozen=True)
class Change:
    """One iteration that decoded: its prompt, its new opening, the old and the new rest of the answer."""

    prompt: list[int]
    opening: list[int]
    old: list[int]
    new: list[int]

    @property
    def kept(self) -> int:
        """How many tokens of the old rest greedy decoding agrees with."""
        return next(
            (i for i, (a, b) in enumerate(zip(self.old, self.new, strict=False)) if a != b), min(len(self.old), len(self.new))
        )


def changes(policy: Policy, count: int, iterations: int) -> list[Change]:
    """Iterations of searches with self-reward whose answers had to be decoded."""
    problems = embedded(count)[1]
    results = seek(
        policy, problems, SelfReward(policy), SeekConfig(max_new_tokens=256, max_iterations=iterations), progress=False
    )
    found = []
    for problem, result in zip(problems, results, strict=True):
        prompt = policy.encode(render_prompt(problem, folder=policy.folder))
        for before, step in zip(result.steps, result.steps[1:], strict=False):
            if step.decoded_tokens:
                n = len(step.prefix_ids)
                found.append(Change(prompt, step.prefix_ids, before.answer_ids[n:], step.answer_ids[n:]))
    return found


def plainly(policy: Policy, batch: list[Change], memories: list) -> list[list[int]]:
    """As the core does it."""
    found = policy.generate([c.prompt for c in batch], forced=[c.opening for c in batch], max_new_tokens=256, after=memories)
    return [c.token_ids for c in found]


def by_draft(policy: Policy, batch: list[Change], memories: list) -> list[list[int]]:
    """One forward over opening and old rest, then ordinary decoding behind what it agrees with."""
    prompts, drafts = [c.prompt for c in batch], [(c.opening + c.old)[:255] for c in batch]
    lengths = list(map(len, drafts))
    read = policy.generate(prompts, forced=drafts, max_new_tokens=lengths, keep_latents=True, remember=256, after=memories)
    forced = []
    for change, draft, completion in zip(batch, drafts, read, strict=True):
        greedy, n = policy.head(completion.latents).argmax(-1).tolist(), len(change.opening)
        agreed = next((t for t in range(n, len(draft)) if greedy[t] != draft[t]), len(draft))
        forced.append(draft[:agreed])
    ended = [bool(f) and f[-1] in policy.stop_ids for f in forced]
    limits = [len(f) if done else 256 for f, done in zip(forced, ended, strict=True)]
    found = policy.generate(prompts, forced=forced, max_new_tokens=limits, after=[c.memory for c in read])
    return [c.token_ids for c in found]


def measure(quick: bool) -> pd.DataFrame:
    """A row for each batch size: the share of old tokens kept, the forwards in a row, and the seconds of both ways."""
    policy, rows = embedded(1)[0], []
    found = changes(policy, 8 if quick else 128, 1 if quick else 10)
    kept = {"iterations": len(found), "kept_share": sum(c.kept for c in found) / sum(len(c.old) for c in found)}
    kept |= {"nothing_kept": sum(c.kept == 0 for c in found) / len(found)}
    random.Random(0).shuffle(found)  # so that a batch holds different problems
    for size in (1, 4) if quick else (1, 8, 64):
        timed = found[: size if quick else max(24, size)]
        batches = [timed[start : start + size] for start in range(0, len(timed), size)]
        row = {"batch": size, **kept, "timed": len(timed), "forwards": sum(max(len(c.new) for c in b) for b in batches)}
        # A batch decodes as long as its longest row; the draft's forward is one more.
        row |= {"forwards_with_draft": sum(1 + max(len(c.new) - c.kept for c in b) for b in batches)}
        rows.append(row | _timed(policy, batches, 1 if quick else 3))
    return pd.DataFrame(rows)


def _timed(policy: Policy, batches: list[list[Change]], repeats: int) -> dict[str, float]:
    memories = [[c.memory for c in policy.generate([c.prompt for c in batch], max_new_tokens=0, remember=0)] for batch in batches]
    pairs = list(zip(batches, memories, strict=True))
    ways = {"seconds": plainly, "seconds_with_draft": by_draft}
    answers = {name: [a for batch, memory in pairs for a in way(policy, batch, memory)] for name, way in ways.items()}
    same = sum(a == b for a, b in zip(*answers.values(), strict=True)) / len(answers["seconds"])
    calls = {name: lambda way=way: [way(policy, *pair) for pair in pairs] for name, way in ways.items()}
    taken = alternate(calls, repeats)
    return taken | {"speed": taken["seconds"] / taken["seconds_with_draft"], "same_answers": same}


def main(quick: Annotated[bool, typer.Option(help="A few problems only.")] = False) -> None:
    """Prints the table."""
    print(measure(quick).round(3).to_string(index=False))


if __name__ == "__main__":
    typer.run(main)
