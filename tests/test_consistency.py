"""README, notebooks' outputs, ledger and model cards never give two numbers for one thing.

From each of them the accuracies are read that come with an interval (tables, and printed lines of the same form), with what they are
of: model, benchmark, prompt, n, and the words that name the method. Where two places mean the same, their numbers must agree as far
as they are printed. Words that aren't known stay part of the name, so that unlike things are never compared.
"""

import ast
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MARKDOWN = [ROOT / "README.md", *sorted((ROOT / "book").glob("*.md")), *sorted((ROOT / "data" / "models").glob("*/README.md"))]
SMALL = ["tiny-qwen2-1.8m", "tiny-llama-1.8m"]
ARMS = ["cot", "self_consistency", *(f"{m} {r}" for m in ("best_of_n", "latentseek", "resample") for r in ("self", "psrm"))]
METHODS = {"cot", "few_shot", "self_consistency", "self_reflection", "best_of_n", "resample", "latentseek"}
# What the same thing is called in different places.
ALIASES = [
    (r"its control: sampling again, same judge, as many answer tokens", "resample self"),
    (r"its control: sampling again, oracle, as many answer tokens", "resample oracle"),
    (r"(not in the table|control): sampling again|sampling again", "resample"),
    (r"boxed \(prompt 1\)|prompt boxed", "cot boxed"),
    (r"json \(prompt 2\)|prompt json", "cot json"),
    (r"chain of thought", "cot"),
    (r"best-of-n", "best_of_n"),
    (r"self-consistency", "self_consistency"),
    (r"few-shot", "few_shot"),
    (r"oracle( \(psrm\))?( \(knows[^)]*\))?", "psrm"),
    (r"self-reward", "self"),
    (r"\bn ?=? ?3\b|\b3 samples|\bk ?=? ?10\b", " "),
]
MODEL = re.compile(r"tiny-(?:qwen2|llama)-[0-9.]+m(?:-early|-seed[0-9]+)?|qwen2\.5-coder-0\.5b|smollm2-135m")
BENCHMARK = re.compile(r"tiny-(?:gsm|math|aime)(?: \(wide\))?(?![-\w])|gsm-symbolic|gsm8k|math500|aime2024")
NUMBER = r"(\d+(?:\.\d+)?)"
FIGURE = re.compile(rf"{NUMBER}% \[{NUMBER}%, {NUMBER}%\](?: of ([\d,]+))?")
LINE = re.compile(
    rf"(?P<label>.*?\S) +(?P<n>\d+) +(?:{NUMBER}% \[{NUMBER}%, {NUMBER}%\]|(0\.\d+|1\.0+) +(0\.\d+) +(0\.\d+|1\.0+))(?!\S)"
)
# Columns of numbers that are part of what a row is of, and columns of text that are not.
SETTINGS = {
    "seed",
    "temperature",
    "t",
    "k",
    "n_samples",
    "rho",
    "ρ",
    "τ",
    "tau",
    "eta",
    "η",
    "reward_threshold",
    "max_iterations",
}
BESIDE = {"date", "commit", "device", "dtype", "weights", "torch"}


class Fact(NamedTuple):
    """An accuracy with its interval, as printed, what it is of, and where it stands."""

    key: tuple
    numbers: tuple[str, str, str]
    place: str


class Given(NamedTuple):
    """What a place says once for all that it shows."""

    model: str = ""
    benchmark: str = "tiny-gsm"
    n: str = ""
    live: tuple = ()


def fact(context: str, n: str, numbers: tuple, given: Given, place: str) -> list[Fact]:
    """The fact that a row states, if it says of which method."""
    text = re.sub(r"[*`“”]|\]\([^)]*\)", "", context).lower()
    for pattern, plain in ALIASES:
        text = re.sub(pattern, plain, text)
    model, benchmark = MODEL.search(text), BENCHMARK.search(MODEL.sub(" ", text))
    words = set(re.split(r"[^\w.=+]+", BENCHMARK.sub(" ", MODEL.sub(" ", text)))) - {"", "boxed", "json", "test", "data", "runs"}
    n = (n or given.n).replace(",", "")
    if not words & METHODS or not n or not (model or given.model):
        return []
    style = "json" if re.search(r"\bjson\b", text) else "boxed"
    live = given.live if int(n) < 200 else ()  # a notebook's own small runs, by its own settings
    of = (model[0] if model else given.model, benchmark[0] if benchmark else given.benchmark, style, int(n))
    return [Fact((*of, " ".join(sorted(words)), live), numbers, place)]


def is_name(column: str, value: str) -> bool:
    """Is this cell of a table part of what its row is of?"""
    if re.fullmatch(r"[-+−]?\d+(\.\d*)?(e[-+]?\d+)?%?|NaN|nan", value):
        return column.lower() in SETTINGS
    return bool(re.search(r"[^\W\d_]", value)) and column not in BESIDE and not FIGURE.search(value)


def of_table(rows: list[dict[str, str]], given: Given, place: str) -> list[Fact]:
    """Facts of a table: columns accuracy, low and high, or cells such as 48.9% [45.8%, 52.0%]."""
    found = []
    for row in rows:
        names = " ".join(value for name, value in row.items() if is_name(name, value))
        n = re.sub(r"\.0$", "", row.get("n", "")) or given.n
        if {"accuracy", "low", "high"} <= set(row) and re.fullmatch(NUMBER, row["low"]):
            found += fact(names, n, (row["accuracy"], row["low"], row["high"]), given, place)
        for name, value in row.items():
            if figure := FIGURE.fullmatch(value.strip()):
                others = " ".join(
                    v for k, v in row.items() if k != name and not FIGURE.search(v) and not re.fullmatch(NUMBER + "%?", v)
                )
                label = names if name in ("accuracy", "solved", "solved [95 %]") else f"{others} {name}"
                found += fact(label, figure[4] or n, tuple(f"{x}%" for x in figure.groups()[:3]), given, place)
    return found


def of_markdown(text: str, place: str) -> list[Fact]:
    """Facts of the tables of a page; README names n and the models between its rows."""
    card = MODEL.fullmatch(Path(place).parent.name)  # a model's own page
    whole = re.search(r"on the whole test split \(([\d,]+) problems", text)
    given, header, found = Given(model=card[0] if card else "", n=whole[1] if whole else ""), None, []
    for line in text.splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if header is None:
            header = cells
        elif named := re.fullmatch(rf"\*({MODEL.pattern})(?:, ([\d,]+) problems of (\S+))?\*", cells[0]):
            other = {"n": named[2], "benchmark": named[3]} if named[2] else {}
            given = given._replace(model=named[1], **other)
        elif len(cells) == len(header):
            found += of_table([dict(zip(header, cells, strict=True))], given, place)
    return found


def of_html(html: str) -> list[dict[str, str]]:
    """The rows of an HTML table, spans filled in, two header lines joined."""
    table, grid = BeautifulSoup(html, "html.parser").find("table"), defaultdict(dict)
    for r, line in enumerate(table.find_all("tr")):
        c = 0
        for cell in line.find_all(["th", "td"]):
            while c in grid[r]:
                c += 1
            for k in range(int(cell.get("rowspan", 1))):
                grid[r + k][c] = cell.get_text(strip=True)
            c += 1
    head = len(table.thead.find_all("tr"))
    names = [" ".join(filter(None, dict.fromkeys(grid[r].get(c, "") for r in range(head)))) for c in grid[0]]
    return [{names[c]: grid[r].get(c, "") for c in range(len(names))} for r in range(head, len(grid))]


def of_notebook(text: str, place: str) -> list[Fact]:
    """Facts of what a committed notebook shows: its tables, and the lines that it prints."""
    cells = json.loads(text)["cells"]
    source = next("".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    values = {a.targets[0].id: ast.literal_eval(a.value) for a in ast.parse(source).body if isinstance(a, ast.Assign)}
    live = tuple(str(values.get(name)) for name in ("rho", "learning_rate", "max_iterations", "split", "prompt", "n"))
    given, found = (
        Given(str(values.get("model", "")), str(values.get("benchmark", "tiny-gsm")), live=live if "rho" in values else ()),
        [],
    )
    for output in (output for cell in cells for output in cell.get("outputs", [])):
        if html := "".join(output.get("data", {}).get("text/html", "")):
            found += of_table(of_html(html), given, place) if "<table" in html and "<thead" in html else []
        else:
            lines = "".join(output.get("text", output.get("data", {}).get("text/plain", ""))).splitlines()
            for match in filter(None, map(LINE.match, lines)):
                percent = match[3] is not None
                numbers = tuple(f"{x}%" for x in match.groups()[2:5]) if percent else match.groups()[5:8]
                found += fact(re.sub(r"^\d+ +", "", match["label"]), match["n"], numbers, given, place)
    return found


def facts(changed: dict[str, str] | None = None) -> list[Fact]:
    """All facts of all places, the text of some of them replaced."""
    found = []
    for path in [*MARKDOWN, *NOTEBOOKS]:
        place = path.relative_to(ROOT).as_posix()
        text = (changed or {}).get(place) or path.read_text(encoding="utf-8")
        found += (of_notebook if path.suffix == ".ipynb" else of_markdown)(text, place)
    return found


def span(numbers: tuple[str, str, str]) -> list[tuple[float, float]]:
    """For each number the values that it may have been rounded from, as shares."""
    percent = any(x.endswith("%") or float(x) > 1 for x in numbers)
    spans = []
    for text in (x.rstrip("%") for x in numbers):
        half = 0.499 * 10.0 ** -len(text.partition(".")[2])
        spans.append(tuple((float(text) + side * half) / (100 if percent else 1) for side in (-1, 1)))
    return spans


def agree(a: Fact, b: Fact) -> bool:
    return all(max(x[0], y[0]) <= min(x[1], y[1]) for x, y in zip(span(a.numbers), span(b.numbers), strict=True))


def conflicts(found: list[Fact]) -> list[tuple[Fact, Fact]]:
    """Pairs that mean the same and say different things."""
    by_key = defaultdict(list)
    for each in found:
        by_key[each.key].append(each)
    return [(group[0], other) for group in by_key.values() for other in group[1:] if not agree(group[0], other)]


@pytest.fixture(scope="module")
def stated() -> list[Fact]:
    return facts()


def test_nothing_is_said_twice_and_differently(stated):
    assert conflicts(stated) == []


@pytest.mark.parametrize("model", SMALL)
def test_the_main_results_are_read_in_many_places(stated, model):
    """Else the test above would hold because it compares nothing."""
    for arm in ARMS:
        places = {
            each.place for each in stated if each.key == (model, "tiny-gsm", "boxed", 1000, " ".join(sorted(arm.split())), ())
        }
        assert "README.md" in places
        assert len([place for place in places if place.endswith(".ipynb")]) >= 3, f"{model}, {arm}: {sorted(places)}"
        assert "book/ledger.md" in places or arm == "best_of_n psrm", f"{model}, {arm}"
    assert any(e.place == f"data/models/{model}/README.md" and e.key[3:5] == (1000, "cot") for e in stated)


@pytest.mark.parametrize(
    ("place", "before", "after"),
    [
        ("README.md", "| 63.2% [60.2%, 66.1%] |", "| 63.4% [60.2%, 66.1%] |"),
        ("README.md", "| 63.2% [60.2%, 66.1%] |", "| 63.2% [60.2%, 66.3%] |"),
        ("book/ledger.md", "| 57.8% [54.7%, 60.8%] |", "| 57.9% [54.7%, 60.8%] |"),
        ("data/models/tiny-qwen2-1.8m/README.md", "| 48.9% [45.8%, 52.0%] |", "| 48.7% [45.8%, 52.0%] |"),
        ("notebooks/04_main_table.ipynb", "<td>63.2</td>", "<td>63.0</td>"),
        ("notebooks/16_flops.ipynb", "latentseek, self 1000     0.632", "latentseek, self 1000     0.630"),
        ("notebooks/20_embedded_models.ipynb", "48.9% [45.8%, 52.0%] of 1000", "48.2% [45.8%, 52.0%] of 1000"),
    ],
)
def test_a_second_number_is_noticed(place, before, after):
    text = (ROOT / place).read_text(encoding="utf-8")
    assert before in text
    found = conflicts(facts({place: text.replace(before, after)}))
    assert found
    assert all(place in (a.place, b.place) for a, b in found)


def test_unlike_things_are_not_compared():
    given = Given("tiny-qwen2-1.8m")
    one, two = (
        fact(name, "400", (x, x, x), given, "here")[0]
        for name, x in (("latentseek, self", "0.5"), ("latentseek self seed 1", "0.6"))
    )
    assert one.key != two.key
    assert conflicts([one, two]) == []
    assert conflicts([one, one._replace(numbers=("0.6", "0.5", "0.7"))])
    assert agree(one._replace(numbers=("0.489", "0.458", "0.520")), one._replace(numbers=("48.9%", "45.8%", "52.0%")))
    assert fact("a label without its method", "400", ("0.5", "0.4", "0.6"), given, "here") == []


POINTS = re.compile(r"([+−-]?\d+\.\d) \[([+−-]?\d+\.\d), ([+−-]?\d+\.\d)\]")


def points(text: str) -> set[tuple[str, ...]]:
    """Differences in points with their intervals, as printed in one piece."""
    return {tuple(x.replace("−", "-").removeprefix("+") for x in found) for found in POINTS.findall(text)}


def shown_points(output: dict) -> set[tuple[str, ...]]:
    """Those of a notebook's output; in a table they are three cells in a row."""
    html = BeautifulSoup("".join(output.get("data", {}).get("text/html", "")), "html.parser")
    rows = [[cell.get_text() for cell in row.find_all("td")] for row in html.find_all("tr")]
    found = {triple for row in rows for triple in zip(row, row[1:], row[2:], strict=False)}
    return found | points("".join(output.get("text", "")) + html.get_text())


@pytest.mark.parametrize(
    "line", [line for line in MARKDOWN[0].read_text(encoding="utf-8").splitlines() if POINTS.search(line) and ".ipynb" in line]
)
def test_differences_in_the_readme_are_those_of_the_notebooks_that_it_names(line):
    shown = set()
    for name in re.findall(r"\(notebooks/(\w+)\.ipynb\)", line):
        cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
        shown |= {triple for cell in cells for output in cell.get("outputs", []) for triple in shown_points(output)}
    assert points(line)
    assert points(line) - shown == set()
