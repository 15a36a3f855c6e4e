"""The committed splits of `tiny-gsm`."""

import json
from dataclasses import asdict
from pathlib import Path

from .worked import draw_problems

SPLITS = {"test": 1000, "tune": 400}


def write_splits(folder: Path) -> list[Path]:
    """Writes `test.jsonl` and `tune.jsonl`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for split, count in SPLITS.items():
        paths.append(folder / f"{split}.jsonl")
        rows = [{k: v for k, v in asdict(p).items() if k != "group"} for p in draw_problems(split, count, seed=0)]
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return paths
