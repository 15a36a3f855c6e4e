"""The book: builds without a complaint, and works in a browser as it lies there, without a network."""

import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from filelock import FileLock
from test_notebooks import stranger  # noqa: F401
from test_replay import browser  # noqa: F401

from latentseek_core.cli import app
from latentseek_core.tools import book as book_module
from latentseek_core.tools.book import ROOT, build_book, check_book_tools
from latentseek_core.tools.notebooks import closing_text
from latentseek_core.tools.report import report

REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]


class Page(HTMLParser):
    """What a page links to, what can be linked to on it, and how many formulas it has."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.links, self.ids, self.sources, self.formulas = path, [], set(), [], 0
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs.get("id"), attrs.get("name")} - {None}
        self.links += [attrs["href"]] if tag in ("a", "link") and attrs.get("href") else []
        self.sources += [attrs["src"]] if attrs.get("src") and tag in ("img", "script", "iframe", "source") else []
        self.formulas += "math" in (attrs.get("class") or "").split() and tag in ("span", "div")


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The book, built once, also where several processes share the tests."""
    base = tmp_path_factory.getbasetemp()
    out = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "whole-book"
    with FileLock(f"{out}.lock"):
        if not (out / "html" / "objects.inv").is_file():  # written at the very end
            build_book(out)
    return out / "html"


@pytest.fixture(scope="session")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}


@pytest.mark.slow
def test_everything_is_in_it(site, pages):
    names = {path.relative_to(site).as_posix() for path in pages}
    assert {f"notebooks/{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")} <= names
    assert {f"book/{path.stem}.html" for path in (ROOT / "book").glob("*.md")} <= names
    assert {"index.html", "search.html", "api/index.html", "api/latentseek_core.seek.html", "data/runs/README.html"} <= names
    text = (site / "book" / "algorithm.html").read_text("utf-8")
    assert "def objective" in re.sub(r"<[^>]+>", "", text), "the code stands beside the equations"


@pytest.mark.slow
def test_no_link_is_broken_and_nothing_is_loaded_from_elsewhere(site, pages):
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    known = {*tracked, *(str(parent) for name in tracked for parent in Path(name).parents)}
    for page in pages.values():
        assert not [source for source in page.sources if re.match(r"https?:|//", source)], page.path
        for link in {*page.links, *page.sources}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link.startswith(f"{REPOSITORY}/blob/main/") or link.startswith(f"{REPOSITORY}/tree/main/"):
                    assert unquote(parts.path).split("/main/")[1] in known, f"{page.path}: {link}"
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            assert target.is_file(), f"{page.path}: {link}"
            if parts.fragment and target in pages and target.stem != "search":
                assert unquote(parts.fragment) in pages[target].ids, f"{page.path}: {link}"


@pytest.mark.slow
def test_departures_lead_to_their_lines(site, pages):
    """Each row of the table of departures names the line that it leads to, as it stands in the code today."""
    rows = re.findall(r"\{line\}`([^:`]+):([^`]+)`", (ROOT / "book" / "algorithm.md").read_text("utf-8"))
    links = [link for link in pages[site / "book" / "algorithm.html"].links if "#L" in link]
    assert len(rows) == len(links) >= 30
    for (name, wanted), link in zip(rows, links, strict=True):
        lines = (ROOT / "latentseek_core" / name).read_text("utf-8").splitlines()
        assert Path(urlsplit(link).path).stem == Path(name).stem
        assert wanted.replace(r"\|", "|").strip() in lines[int(link.split("#L")[1]) - 1]


def complaints(chromium) -> list[dict]:
    """What the browser says of a page, apart from what the theme notes for its makers."""
    return [event for event in chromium.complaints if event["params"].get("type") not in ("log", "debug", "info")]


READY = "!window.MathJax || !MathJax.startup || !MathJax.startup.promise ? 0 : MathJax.startup.promise.then(() => 1)"
PICTURES = "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"


@pytest.mark.slow
def test_every_page_works_in_a_browser(site, pages, browser):  # noqa: F811
    """No complaint on the console, every picture and formula there, and no sideways scroll on a telephone."""
    browser("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    drawn = 0
    for path, page in pages.items():
        browser.events.clear()
        browser.open(path)
        browser("Runtime.evaluate", expression=READY, awaitPromise=True)
        assert browser.tell(f"[...document.images].forEach(i => i.loading = 'eager'); {PICTURES}") == [], path
        formulas = browser.tell("document.querySelectorAll('mjx-container').length")
        assert formulas >= page.formulas, f"{path}: {formulas} of {page.formulas} formulas are drawn"
        assert browser.tell("document.querySelectorAll('mjx-merror, [data-mjx-error]').length") == 0, path
        assert browser.tell("document.documentElement.scrollWidth") <= 390, path
        assert not complaints(browser), (path, complaints(browser))
        drawn += formulas
    assert drawn > 100


@pytest.mark.slow
def test_a_figure_opens_large_and_closes_by_key(site, browser):  # noqa: F811
    browser.open(site / "notebooks" / "06_iterations.html")
    assert browser.tell("document.querySelector('dialog.large').open") is False
    browser.tell("document.querySelector('article img.opens').click()")
    assert browser.tell("document.querySelector('dialog.large').open")
    shown = browser.tell("document.querySelector('dialog.large img').src")
    assert shown == browser.tell("document.querySelector('article img.opens').src")
    browser("Input.dispatchKeyEvent", type="keyDown", key="Escape", code="Escape", windowsVirtualKeyCode=27)
    assert browser.tell("document.querySelector('dialog.large').open") is False


@pytest.mark.slow
def test_search_finds_and_the_theme_turns_dark(site, browser):  # noqa: F811
    browser.open(SimpleNamespace(as_uri=lambda: f"{(site / 'search.html').as_uri()}?q=control"))
    found = "new Promise(tell => { const look = () => document.querySelectorAll('ul.search li').length > 3 ? tell(1) : setTimeout(look, 50); look() })"
    browser("Runtime.evaluate", expression=found, awaitPromise=True)
    background = "getComputedStyle(document.body).backgroundColor"
    seen = set()
    for mode in ("light", "dark"):
        browser.tell(f"document.documentElement.dataset.theme = '{mode}'")
        seen.add(browser.tell(background))
    assert len(seen) == 2
    assert not complaints(browser)


@pytest.mark.slow
def test_the_evening_can_be_walked(tmp_path):
    """Every block of the page from "Look" on, in order, in an empty folder."""
    page = (ROOT / "book" / "evening.md").read_text("utf-8").split("## Look")[1]
    blocks = re.findall(r"```(sh|\{code-block\} \w+\n:caption: (\S+))\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 9
    call = (
        f'latentseek() {{ "{sys.executable}" -m latentseek_core.cli "$@"; }}; python() {{ "{sys.executable}" "$@"; }}; set -e\n'
    )
    for kind, name, content in blocks:
        if kind != "sh":
            (tmp_path / name).write_text(content, encoding="utf-8")
            continue
        done = subprocess.run(["bash", "-c", call + content], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, content + done.stdout[-1000:] + done.stderr[-1000:]
    assert all(name in done.stdout for name in ("sharp", "random", "sums-control", "my-prompt")), done.stdout


@pytest.mark.slow
def test_a_report_on_a_model_never_seen_before_goes_on_where_it_was(stranger, tmp_path, monkeypatch):  # noqa: F811
    out = tmp_path / "report"
    how = {"quick": True, "parameters": {"max_new_tokens": 32}}
    front = report(str(stranger), "tiny-gsm", out, only="06", **how)
    text = front.read_text("utf-8")
    assert "LatentSeek on stranger" in text
    assert "A quick report" in text
    assert (front.parent / "notebooks" / "06_iterations.html").is_file()
    monkeypatch.setattr("latentseek_core.tools.report.execute", lambda *args, **options: pytest.fail("done again"))
    monkeypatch.setattr("latentseek_core.tools.report.build_book", lambda *args: front)
    assert report(str(stranger), "tiny-gsm", out, only="6", **how) == front
    with pytest.raises(ValueError, match="holds a report with another quick, True"):
        report(str(stranger), "tiny-gsm", out, only="06", **how | {"quick": False})


@pytest.mark.slow
def test_a_report_on_an_embedded_model(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr("latentseek_core.tools.report.build_book", lambda *given: built.append(given) or tmp_path / "index.html")
    report("tiny-qwen2-1.8m", "tiny-gsm", tmp_path, quick=True, only="02", parameters={"n": 2, "max_iterations": 2})
    ((_, (executed,), front, title),) = built
    assert executed == tmp_path / "notebooks" / "02_algorithm_one.ipynb"
    assert title == "LatentSeek on tiny-qwen2-1.8m"
    assert closing_text(executed).strip() in front
    assert (tmp_path / "runs" / "02_algorithm_one").is_dir(), "its figures are in the report's folder"


def test_a_notebook_that_stops_stops_no_other(tmp_path, monkeypatch):
    def execute(path, given, folder, progress):
        if path.name.startswith("02"):
            raise RuntimeError("02_algorithm_one.ipynb stopped in cell 3")
        folder.mkdir(exist_ok=True)
        (folder / path.name).write_bytes(path.read_bytes())
        return folder / path.name

    monkeypatch.setattr("latentseek_core.tools.report.execute", execute)
    built = []
    monkeypatch.setattr("latentseek_core.tools.report.build_book", lambda out, notebooks, *front: built.append(notebooks))
    with pytest.raises(RuntimeError, match="1 of 3 notebooks stopped: 02_algorithm_one.ipynb stopped in cell 3"):
        report("tiny-qwen2-1.8m", "tiny-gsm", tmp_path, only="02,06,12")
    assert [path.stem for path in built[0]] == ["06_iterations", "12_fraction_ratio"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"only": "99"}, "no notebook 99 takes a model; there are 00, 01, 02"),
        ({"only": "20"}, "no notebook 20 takes a model"),
        ({"parameters": {"rate": 1}}, "none of these notebooks has a parameter 'rate'"),
        ({"model": "tiny-qwen"}, "unknown model 'tiny-qwen'"),
        ({"benchmark": "gsm9k"}, "unknown benchmark 'gsm9k'"),
    ],
)
def test_a_wrong_report_is_refused_before_anything_runs(wrong, said, tmp_path, monkeypatch):
    monkeypatch.setattr("latentseek_core.tools.report.execute", lambda *args, **options: pytest.fail("a notebook was run"))
    given = {"model": "tiny-qwen2-1.8m", "benchmark": "tiny-gsm", "out": tmp_path / "report"} | wrong
    with pytest.raises(ValueError, match=re.escape(said)):
        report(**given)
    assert not (tmp_path / "report").exists()


def test_without_the_book_extra_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setattr(book_module, "find_spec", lambda name: None if name == "myst_nb" else object())
    with pytest.raises(RuntimeError, match=re.escape("the book needs myst_nb: pip install 'latentseek-kit[book]'")):
        check_book_tools()


def test_the_command_line_has_both():
    assert {command.name for command in app.registered_commands} >= {"book", "report"}


def test_the_workflow_runs_the_tests_and_publishes_the_book():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())
    steps = {name: [step.get("run", step.get("uses", "")) for step in job["steps"]] for name, job in workflow["jobs"].items()}
    assert "bash .ci/run" in steps["test"]
    assert "make book" in steps["book"]
    assert any(step.startswith("actions/upload-pages-artifact@") for step in steps["book"])
    assert workflow["jobs"]["publish"]["needs"] == ["test", "book"]
    assert "publish" not in {name for name, job in workflow["jobs"].items() if "if" not in job}
