"""The speed comparison that `make bench` runs: every section in turn, tables and figures into `results/`."""

from pathlib import Path
from typing import Annotated

import decoding
import draft
import embedded
import exactness
import pandas as pd
import search
import transformers
import typer
from common import RESULTS, machine, random_policy, seconds
from report import Section, plot_decoding, plot_growth, plot_memory, plot_ratios, plot_shares, write_section

from latentseek_core.figures import set_style

SECTIONS = [
    Section(
        "plain",
        "seek against the plain loop",
        "Seconds a problem. The plain loop forwards prompt and answer again for each token, one problem at a time; only the last "
        "position goes through its head, as in the authors' code (`ratio_all_logits` is the ratio with the head on all positions, "
        "from the time of one forward). Where fewer than K = 10 iterations were timed, the columns say how many; the time is scaled, "
        "since each costs the same here. Both must end with the same tokens, which is asserted. Prompt of 100 tokens, ρ 0.2, a "
        "reward that never passes τ. η is the smallest at which the first step flips a tenth of the opening. `flipped_share` is the "
        "part of an opening that an iteration changes, `first_changed` the mean first changed position (from 0): what stands before "
        "it is not read again. Alone, our time is that of reading all weights once a token (175 MB in some 13 ms here), which a second "
        "thread hardly speeds up, whereas the plain loop's long forwards use both.",
        search.against_plain,
        plot_ratios,
    ),
    Section(
        "decoding",
        "policy.generate against transformers' generate",
        "Greedy, the same prompts (padded on the left for transformers), the same number of new tokens, transformers' defaults "
        "(cache on). Medians of measurements taken in turn; a ratio above 1 means that the kit is faster. `same_answers` counts "
        "answers that are equal to the last token.",
        decoding.against_transformers,
        plot_decoding,
    ),
    Section(
        "growth",
        "How cost grows",
        "One thing varied at a time, the others at ρ 0.2, K 4, T 64, batch 8, 4 layers of width 640. Seconds and token forwards are for one "
        "problem. The cost grows with K and T as the decoded tokens do, and falls with ρ, since what is forced needs no decoding.",
        search.growth,
        plot_growth,
    ),
    Section(
        "memory",
        "Memory of a batch",
        "Each row in a fresh process: the process's resident memory with the model loaded and warm (`model_mb`), how far its peak "
        "rises above that while 128 tokens are decoded (`added_mb`, Linux's VmHWM − VmRSS), and what keys and values alone take by "
        "their shapes (`cache_mb`). The rest is activations, the copy that growing a cache makes, and what the allocator keeps.",
        decoding.memory,
        plot_memory,
    ),
    Section(
        "shares",
        "Where the time goes",
        "Shares of a whole search's seconds: the functions themselves are timed. Verifying includes the decoding of verdicts; the "
        "rest is texts and bookkeeping.",
        embedded.time_shares,
        plot_shares,
    ),
    Section(
        "padding",
        "What padding costs",
        "A search with self-reward on the embedded benchmark: chains of thought, one iteration, four verdicts for each answer. Rows "
        "of unlike length share a forward only within a slice. The kit sorts them by length and takes 64 at a time.",
        embedded.padding,
    ),
    Section(
        "draft",
        "The old answer as a draft (not built in)",
        "An iteration's old continuation is read in one forward behind the new opening, and what greedy decoding agrees with is "
        "kept (`kept_share` of its tokens, over all iterations; `nothing_kept` is the share of iterations without any). Seconds and forwards in a row are those of the `timed` iterations; "
        "`speed` above 1 would mean that the draft pays.",
        draft.measure,
    ),
    Section(
        "batches",
        "Does a batch change the answers?",
        "Searches of two iterations with the oracle on the embedded model, alone, by 7 and by 64: the share of problems whose first answer, and whose "
        "whole chain of answers, is not that of the search alone. A batch changes the order in which products are summed. In float32 "
        "the difference is far below the distance between two logits, short of an exact tie; in bfloat16 it is of the size of one "
        "step between neighbouring numbers, and close calls go either way. To be safe: float32, or batches of one.",
        exactness.batches,
    ),
    Section(
        "long_runs",
        "Does memory grow with the problems done?",
        "Resident memory of one process after so many problems of one search, batches of 64.",
        exactness.growth_of_memory,
    ),
    Section(
        "real",
        "A real model on a CPU (measured by `real.py`)",
        "Tokens per second of greedy answers of fixed length, prompts included, by a model of 0.5 B parameters, for number formats, int8 "
        "weights and compilation. `first_seconds` is the first call, compilation included; `torch-dynamic` and `torchao-weights` hold "
        "the backbone's matrices in int8. Read the rows against `float32`.",
        None,
    ),
]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    quick: Annotated[bool, typer.Option(help="Tiny settings: does everything run? The numbers mean nothing.")] = False,
    only: Annotated[str, typer.Option(help=f"One section: {', '.join(s.name for s in SECTIONS)}.")] = "",
    out: Annotated[Path, typer.Option(help="Folder for tables and figures.")] = RESULTS,
) -> None:
    """Measures and writes the page of results; sections that were measured before stay on it."""
    chosen = [section for section in SECTIONS if section.measure and only in ("", section.name)]
    if not chosen:
        known = ", ".join(section.name for section in SECTIONS if section.measure)
        raise typer.BadParameter(f"no section {only!r}; there are {known}", param_hint="--only")
    set_style()
    transformers.logging.disable_progress_bar()
    policy = random_policy(256, 2) if quick else random_policy()
    opening = "# Results\n\nWritten by `make bench`.\n\n" + ("**A smoke test: these numbers mean nothing.**\n\n" if quick else "")
    parts = [f"{opening}{machine()}.\n\nThe random model: {search.describe(policy)}.\n"]
    for section in SECTIONS:
        before = out / f"{section.name}.csv"
        if section in chosen:
            taken, table = seconds(lambda section=section: section.measure(quick))
            print(f"\n{section.title} ({taken:.0f} s)\n{table.round(3).to_string(index=False)}", flush=True)
        elif before.is_file():  # measured by an earlier call
            table = pd.read_csv(before)
        else:
            continue
        parts.append(write_section(section, table, out))
    (out / "README.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    app()
