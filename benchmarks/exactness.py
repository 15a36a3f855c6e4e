"""Does a batch change answers, in which precision; and does memory grow with the problems done: on the embedded model."""

import pandas as pd
import torch
from common import in_fresh_process, resident_bytes
from embedded import embedded

from latentseek_core import PerfectSparseReward, Policy, SeekConfig, embedded_models, seek

SIZES = (1, 7, 64)


def batches(quick: bool) -> pd.DataFrame:
    """A row for each precision and batch size: the share of problems whose chain of thought, and whose found answer, is another
    than alone."""
    _, problems = embedded(12 if quick else 64)
    config, rows = SeekConfig(max_new_tokens=32 if quick else 256, max_iterations=2), []
    for dtype in ("float32", "bfloat16"):
        policy, found = Policy.from_pretrained(embedded_models()[0], dtype=getattr(torch, dtype)), {}
        for size in SIZES:
            results = seek(policy, problems, PerfectSparseReward(), config, batch_size=size, progress=False)
            found[size] = [(r.steps[0].answer_ids, [step.answer_ids for step in r.steps], r.steps[-1].reward) for r in results]
            other = [[a[part] != b[part] for part in (0, 1)] for a, b in zip(found[1], found[size], strict=True)]
            shares = pd.DataFrame(other, columns=["other_first_answer", "other_search"]).mean()
            solved = sum(reward == 0 for *_, reward in found[size]) / len(problems)
            rows.append({"dtype": dtype, "batch": size, "problems": len(problems)} | shares.to_dict() | {"solved": solved})
    return pd.DataFrame(rows)


def growth_of_memory(quick: bool) -> pd.DataFrame:
    """Resident memory of one process after so many problems."""
    return in_fresh_process(_grow, (16, 32) if quick else (64, 256, 512, 1000))


def _grow(counts: tuple[int, ...]) -> pd.DataFrame:
    policy, problems = embedded(max(counts))
    config, rows, done = SeekConfig(max_new_tokens=256), [], 0
    for count in counts:
        seek(policy, problems[done:count], PerfectSparseReward(), config, progress=False)
        done = count
        rows.append({"problems": done, "resident_mb": resident_bytes() / 1e6})
    return pd.DataFrame(rows)
