"""The book: the repository's pages and executed notebooks as a static site, by Sphinx (`book/conf.py`).

The pages are laid out as in the repository, so that a link between two files is true in both; what lies in no page of the book
leads to its source. The README is the front page.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

from ..problems import DATA

ROOT = DATA.parent
CORE = Path(__file__).resolve().parents[1]
# The parts of the book in their order: files of the repository by pattern, each in the first part that names it.
PARTS = {
    "Notebooks": ["notebooks/*.ipynb"],
    "The method": ["book/algorithm.md", "book/evening.md", "book/authors_flags.md", "api/index.md"],
    "The evidence": ["book/ledger.md", "data/runs/README.md", "data/published/README.md", "benchmarks/results/README.md"],
    "Around it": ["book/related.md", "book/*.md", "data/models/*/README.md", "benchmarks/README.md"],
}
PICTURES = ["notebooks/figures/*.*g", "book/*.*g", "data/*/*/*.png", "benchmarks/results/*.png"]
BADGE = "![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)"
API = """# {short}

```{{eval-rst}}
.. automodule:: {name}
   :members:
```
"""


def check_book_tools() -> None:
    """Refuses at once where the book can't be built.

    Raises:
        RuntimeError: Sphinx is not installed, or this is not a clone of the repository.
    """
    missing = [name for name in ("sphinx", "myst_nb", "sphinx_book_theme", "sphinx-mathjax-offline") if find_spec(name) is None]
    if missing:
        raise RuntimeError(f"the book needs {missing[0]}: pip install 'latentseek-kit[book]'")
    if not (ROOT / "book" / "conf.py").is_file():
        raise RuntimeError("the book is made from a clone of the repository; there is no book/conf.py beside this installation")


def build_book(out: Path, notebooks: Sequence[Path] | None = None, front: str = "", title: str = "LatentSeek kit") -> Path:
    """Builds the book in `out` and returns its front page.

    Args:
        out: gets the folders `pages` (what Sphinx reads) and `html` (the site).
        notebooks: executed notebooks; the repository's by default.
        front: a front page in Markdown in place of the README, which then is a page of the book.
        title: the book's.

    Raises:
        RuntimeError: no Sphinx, or a page that it complains about: a broken link, a missing picture, text cut from the code that
            is no longer there.
    """
    check_book_tools()
    pages, html = out.resolve() / "pages", out.resolve() / "html"
    _lay_out(pages, sorted((ROOT / "notebooks").glob("*.ipynb")) if notebooks is None else notebooks, front)
    shutil.rmtree(html, ignore_errors=True)
    call = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going", "--color", "-c", ROOT / "book"]
    call += ["-d", out.resolve() / "doctrees", "-D", f"html_title={title}", pages, html]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(CORE.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([*map(str, call)], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Sphinx could not build the book: {done.stderr.strip()[-2000:]}")
    return html / "index.html"


def _lay_out(pages: Path, notebooks: Sequence[Path], front: str) -> None:
    """Writes what Sphinx reads; what is there already stays untouched, so that Sphinx reads again only what has changed."""
    found = {path.relative_to(ROOT).as_posix(): path for path in _matching([p for part in PARTS.values() for p in part])}
    found = {name: path for name, path in found.items() if not name.startswith("notebooks/")}
    found |= {f"notebooks/{path.name}": path for path in notebooks}
    pictures = {path.relative_to(ROOT).as_posix(): path for path in _matching(PICTURES)}
    code = {f"latentseek_core/{path.relative_to(CORE).as_posix()}": path for path in CORE.rglob("*.py")}
    contents = {name: path.read_bytes() for name, path in (found | pictures | code).items()}
    for name in found:
        if name.endswith(".ipynb"):
            contents[name] = contents[name].replace(BADGE.encode(), b"Open in Colab")  # a picture from elsewhere
        elif name == "book/ledger.md":
            contents[name] = _with_targets(contents[name].decode()).encode()
    api = _api_pages()
    readme = (ROOT / "README.md").read_text("utf-8")
    contents |= {"README.md": readme.encode()} if front else {}
    contents |= {name: text.encode() for name, text in api.items()}
    contents["index.md"] = f"{front or readme}\n\n{_contents([*found, 'api/index.md'], bool(front))}".encode()
    for path in [path for path in pages.rglob("*") if path.is_file()]:
        if path.relative_to(pages).as_posix() not in contents:
            path.unlink()
    for name, content in contents.items():
        path = pages / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _with_targets(text: str) -> str:
    """Anchors as Sphinx knows them, where a page has those that GitHub knows; named so that none is taken for a name in the code."""
    return re.sub(r"\]\(#([\w-]+)\)", r"](#claim-\1)", re.sub(r'<a id="([\w-]+)"></a>', r"(claim-\1)=", text))


def _matching(patterns: list[str]) -> Iterator[Path]:
    yield from (path for pattern in patterns for path in sorted(ROOT.glob(pattern)) if path.is_file())


def _contents(names: list[str], with_readme: bool) -> str:
    """The tables of contents: each page once, under the first part that names it."""
    left, blocks = dict.fromkeys(names), []
    for part, patterns in PARTS.items():
        entries = [name for pattern in patterns for name in sorted(left) if fnmatch(name, pattern)]
        entries = list(dict.fromkeys(entries))
        left = {name: None for name in left if name not in entries}
        if with_readme and part == "The method":
            entries.insert(0, "README.md")
        blocks.append("\n".join(["```{toctree}", ":hidden:", f":caption: {part}", "", *entries, "```"]))
    return "\n\n".join(blocks)


def _api_pages() -> dict[str, str]:
    """A page a module, from its docstrings, and one that lists them."""
    pages, rows = {}, []
    for path in sorted(CORE.rglob("*.py"), key=lambda path: (path.parent != CORE, path)):
        if path.stem == "__init__" or path.stem.endswith("_worker"):
            continue
        name = ".".join(path.relative_to(CORE.parent).with_suffix("").parts)
        said = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        rows.append((name, said.split("\n\n")[0].replace("\n", " ").replace("::", ":")))
        pages[f"api/{name}.md"] = API.format(name=name, short=name.removeprefix("latentseek_core."))
    table = "\n".join(f"| [`{name.removeprefix('latentseek_core.')}`]({name}.md) | {first} |" for name, first in rows)
    toctree = "\n".join(["```{toctree}", ":hidden:", "", *(f"{name}.md" for name, _ in rows), "```"])
    public = "\n".join(f"   ~{name}" for name in _public_names())
    text = f"# API reference\n\n```{{eval-rst}}\nFrom ``import latentseek_core``:\n\n.. autosummary::\n\n{public}\n```\n\n"
    return {"api/index.md": f"{text}## Modules\n\n| module | |\n|---|---|\n{table}\n\n{toctree}\n"} | pages


def _public_names() -> list[str]:
    """The names of `__all__`, each with the module that defines it."""
    tree = ast.parse((CORE / "__init__.py").read_text("utf-8"))
    froms = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.level]
    where = {alias.name: f"latentseek_core.{node.module}" for node in froms for alias in node.names}
    names = next(node for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__")
    return [f"{where[name]}.{name}" for name in ast.literal_eval(names.value)]
