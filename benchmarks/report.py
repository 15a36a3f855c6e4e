"""Tables and figures of the results, and the page that holds them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from latentseek_core.figures import save

Plot = Callable[[pd.DataFrame], plt.Figure]


@dataclass(frozen=True)
class Section:
    """One measurement: its name (of files), its title, how to read it, how to make and draw its table. Without `measure`, another
    script makes the table."""

    name: str
    title: str
    reading: str
    measure: Callable[[bool], pd.DataFrame] | None
    plot: Plot | None = None


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, numbers to three digits."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in rows)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if pd.isna(value) else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write_section(section: Section, table: pd.DataFrame, folder: Path) -> str:
    """Writes table and figure; returns the section's part of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    part = f"## {section.title}\n\n{section.reading}\n\n{markdown(table)}\n"
    if section.plot is None:
        table.to_csv(folder / f"{section.name}.csv", index=False)
        return part
    figure = section.plot(table)
    save(figure, table, folder, section.name)
    plt.close(figure)
    return f"{part}\n![{section.title}]({section.name}.png)\n"


def plot_ratios(table: pd.DataFrame) -> plt.Figure:
    """How many times faster, by batch size: a group of bars for each answer length."""
    figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    wide = table.pivot(index="batch", columns="tokens", values="ratio")
    wide.plot.bar(ax=axes, rot=0)
    for bars in axes.containers:
        axes.bar_label(bars, fmt="%.0f×", fontsize=9)
    axes.set(xlabel="problems at once", ylabel="times faster than the plain loop")
    axes.margins(y=0.12)
    axes.legend(title="answer tokens", loc="upper left")
    return figure


def plot_decoding(table: pd.DataFrame) -> plt.Figure:
    """Tokens per second of both, by batch size: a panel for each kind of prompts."""
    kinds = table.prompts.unique()
    figure, panels = plt.subplots(1, len(kinds), figsize=(9, 3.4), sharey=True, layout="constrained")
    for axes, kind in zip(panels, kinds, strict=True):
        columns = {"kit_tokens_per_second": "policy.generate", "transformers_tokens_per_second": "transformers' generate"}
        rows = table[table.prompts == kind].set_index("batch")[list(columns)].rename(columns=columns)
        rows.plot.bar(ax=axes, rot=0, legend=axes is panels[0])
        axes.set(title=f"prompt tokens: {kind}", xlabel="batch", ylabel="tokens per second")
    return figure


def plot_growth(table: pd.DataFrame) -> plt.Figure:
    """Seconds a problem against each thing varied, with the token forwards on a second axis."""
    names = table.varied.unique()
    figure, panels = plt.subplots(1, len(names), figsize=(3 * len(names), 3.2), layout="constrained")
    for axes, name in zip(panels, names, strict=True):
        rows, twin = table[table.varied == name], axes.twinx()
        x = rows.parameters / 1e6 if name == "layers" else rows.value
        (left,) = axes.plot(x, rows.seconds, "o-", label="seconds")
        (right,) = twin.plot(x, rows.forwarded_tokens, "s--", color="C1", label="token forwards")
        axes.set(xlabel={"layers": "parameters (M)", "rho": "ρ"}.get(name, name), ylim=(0, 1.1 * rows.seconds.max()))
        twin.set(ylim=(0, 1.1 * rows.forwarded_tokens.max()))
        twin.grid(False)
    panels[0].set_ylabel("seconds a problem")
    twin.set_ylabel("token forwards a problem")
    panels[0].legend(handles=[left, right], fontsize=8)
    return figure


def plot_memory(table: pd.DataFrame) -> plt.Figure:
    """Memory added by a batch, beside what its cache alone takes."""
    figure, axes = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
    axes.plot(table.batch, table.added_mb, "o-", label="added, at most")
    axes.plot(table.batch, table.cache_mb, "s--", label="keys and values alone")
    axes.set(xlabel="batch", ylabel="MB", ylim=(0, None))
    axes.legend()
    return figure


def plot_shares(table: pd.DataFrame) -> plt.Figure:
    """Parts of a search's time, a bar for each row."""
    figure, axes = plt.subplots(figsize=(7.5, 2.6), layout="constrained")
    labels = table.model + ", batch " + table.batch.astype(str)
    parts = 100 * table.set_index(labels)[["decoding", "verifying", "head_gradient", "rest"]]
    parts.rename(columns=lambda name: name.replace("_", " ")).plot.barh(stacked=True, ax=axes)
    axes.set(xlabel="share of time (%)", ylabel="", xlim=(0, 100))
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.25), ncols=4, fontsize=9)
    return figure
