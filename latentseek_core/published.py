"""The published numbers, as tables: one CSV each under `data/published/`, which says where it comes from in its first line.

Versions 1 and 3 of the paper differ in places; a table's name ends in the version that it was taken from.
"""

import pandas as pd

from .problems import DATA

PUBLISHED_FOLDER = DATA / "published"


def published_tables() -> list[str]:
    """Names of the published tables."""
    return sorted(path.stem for path in PUBLISHED_FOLDER.glob("*.csv"))


def load_published(name: str) -> pd.DataFrame:
    """A published table; `.attrs["source"]` names paper, version and table.

    Raises:
        ValueError: unknown name.
    """
    if name not in published_tables():
        raise ValueError(f"unknown published table {name!r}: use one of {', '.join(published_tables())}")
    path = PUBLISHED_FOLDER / f"{name}.csv"
    table = pd.read_csv(path, comment="#")
    with path.open(encoding="utf-8") as file:
        table.attrs["source"] = file.readline().removeprefix("# source:").strip()
    return table
