"""Figures and coloured texts, in one style: readable in grey and by colour-blind eyes."""

import html
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.patches import Patch

from .problems import DATA

PALETTE = "colorblind"


def set_style() -> None:
    """The kit's theme for all figures that follow."""
    sns.set_theme(context="notebook", style="whitegrid", palette=PALETTE, rc={"figure.dpi": 110, "axes.spines.top": False})


def output_folder(name: str) -> Path:
    """Where a notebook's runs and figures go unless told otherwise: `out/name` in the checkout, else in the current folder."""
    checkout = DATA.parent
    return (checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()) / "out" / name


def save(figure: plt.Figure, data: pd.DataFrame, folder: Path, name: str) -> None:
    """Writes a figure as PNG and SVG, and the numbers behind it as CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("png", "svg"):
        figure.savefig(folder / f"{name}.{kind}", bbox_inches="tight", dpi=150)
    data.to_csv(folder / f"{name}.csv", index=False)


def plot_accuracy(table: pd.DataFrame, by: str = "method") -> plt.Figure:
    """Accuracy with its interval beside the tokens that it took, a bar for each row of an `accuracy_table`."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 0.6 * len(table) + 1.6), sharey=True, layout="constrained")
    places, colours = range(len(table)), sns.color_palette(PALETTE, len(table))
    errors = [100 * (table.accuracy - table.low), 100 * (table.high - table.accuracy)]
    left.barh(places, 100 * table.accuracy, xerr=errors, color=colours, capsize=4, ecolor="black")
    counts = " to ".join(str(n) for n in sorted({table.n.min(), table.n.max()}))
    left.set(yticks=places, yticklabels=table[by], xlim=(0, 100), xlabel=f"problems solved (%), 95 % interval, n = {counts}")
    left.invert_yaxis()
    right.barh(places, table.answer_tokens, color=colours)
    right.set(xlabel="answer tokens decoded a problem (mean)")
    if table.verifier_tokens.any():
        right.barh(places, table.verifier_tokens, left=table.answer_tokens, color="white", edgecolor="black", hatch="///")
        right.set(xlabel="tokens decoded a problem (mean)")
        kinds = [Patch(color="0.5", label="answers"), Patch(facecolor="white", edgecolor="black", hatch="///", label="verdicts")]
        figure.legend(handles=kinds, loc="outside upper right", ncols=2, frameon=False)
    return figure


def coloured_diff(before: str, after: str) -> str:
    """HTML of a text in which words that went are struck through and words that came are underlined, each with a colour."""
    old, new = before.split(), after.split()
    parts = []
    for kind, a, b, c, d in SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(html.escape(" ".join(old[a:b])))
            continue
        if gone := html.escape(" ".join(old[a:b])):
            parts.append(f'<del style="background:#f6d5c3">{gone}</del>')
        if came := html.escape(" ".join(new[c:d])):
            parts.append(f'<ins style="background:#cfe3f2">{came}</ins>')
    return f'<div style="line-height:1.7">{" ".join(parts)}</div>'


def plot_clouds(lines: Mapping[str, Sequence[Mapping[str, int]]], titles: Sequence[str], seed: int = 0) -> plt.Figure:
    """Word clouds as in the paper's Figure 7: a line of them for each entry, one for each place in the answer.

    Args:
        lines: by the line's name, how often each word stands at each place; words that end in a star, which are none, get a colour.
        titles: of the places, in order.
        seed: where the words are put.
    """
    from wordcloud import WordCloud

    look = {"width": 640, "height": 420, "max_font_size": 130, "background_color": "white", "random_state": seed}
    look["color_func"] = lambda word, **_: "#b34d00" if word.endswith("*") else "#12395b"
    size = {"figsize": (11, 2.8 * len(lines)), "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(len(lines), len(titles), **size)
    for (name, counts), row in zip(lines.items(), axes, strict=True):
        for sizes, title, ax in zip(counts, titles, row, strict=True):
            ax.imshow(WordCloud(**look).generate_from_frequencies(sizes), interpolation="bilinear")
            ax.set(xticks=[], yticks=[], title=f"{title}: {len(sizes)} different")
        row[0].set_ylabel(name, fontsize=13)
    return figure


def marked_tokens(tokens: list[str], changed: list[int], n_latents: int) -> str:
    """HTML of an answer's tokens: the optimised ones framed, those that changed with a colour."""
    spans = []
    for t, token in enumerate(tokens):
        frame = "border-bottom:2px solid #0173b2;" if t < n_latents else ""
        colour = "background:#de8f05;" if t in changed else ""
        spans.append(f'<span style="{frame}{colour}white-space:pre-wrap">{html.escape(token)}</span>')
    return f'<div style="line-height:1.9">{"".join(spans)}</div>'


def plot_training(logs: dict[str, pd.DataFrame]) -> plt.Figure:
    """Loss against tokens read, a line for each model (`logs`: name to its `training.csv`), the stages marked for the first."""
    figure, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    for name, log in logs.items():
        axes.plot(log.tokens / 1e6, log.loss, label=name)
    first = next(iter(logs.values()))
    for stage, part in first.groupby("stage", sort=False):
        axes.axvline(part.tokens.max() / 1e6, color="0.8", linewidth=1, zorder=0)
        middle = (part.tokens.min() + part.tokens.max()) / 2e6
        axes.annotate(stage, (middle, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=9)
    axes.set(xlabel="tokens read (millions, padding included)", ylabel="loss a token (weighted)", yscale="log")
    if len(logs) > 1:
        axes.legend()
    return figure
