"""Sphinx's settings for the book. `latentseek book` lays out the pages and calls Sphinx."""

import re
import tomllib
from importlib.metadata import version as version_of
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]

project = html_title = "LatentSeek kit"
author = "the authors of the LatentSeek kit"
project_copyright = "MIT licence"
release = version = version_of("latentseek-kit")
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
]
exclude_patterns = ["latentseek_core"]
default_role = "code"  # docstrings write code as Markdown does

nb_execution_mode = "off"  # the outputs are those that the notebooks came with
nb_merge_streams = True
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
# Notebooks begin where their title is; a front matter belongs to the model hub.
suppress_warnings = ["config.cache"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
autosummary_generate = False
add_module_names = False
python_maximum_signature_line_length = 88
viewcode_line_numbers = True

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_favicon = "static/mark.svg"
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None
html_theme_options = {
    "repository_url": REPOSITORY,
    "use_repository_button": True,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "navbar_persistent": [],
    "secondary_sidebar_items": {"**": ["page-toc"], "book/algorithm": []},
    "pygments_light_style": "a11y-light",
    "pygments_dark_style": "a11y-dark",
}
html_context = {"default_mode": "auto"}
copybutton_selector = "div:not(.output) > div.highlight pre"


class LeadOut(SphinxTransform):
    """A link to a file of the repository that is no page leads to the book's copy of the code, or to the repository."""

    default_priority = 400

    def apply(self, **_):
        links = [*self.document.findall(addnodes.download_reference), *self.document.findall(addnodes.pending_xref)]
        for node in links:
            if node.get("reftype") == "myst" and node.get("refdomain") is None:
                uri = self.elsewhere(node["reftarget"])
                if uri:
                    node.replace_self(nodes.reference("", "", *node.children, refuri=uri))

    def elsewhere(self, target: str) -> str:
        """Where the target is to be found; empty if it is no file of the repository."""
        path, _, fragment = target.partition("#")
        here = PurePosixPath(self.env.docname).parent
        name = normpath((here / path).as_posix())
        if not path or name.startswith("..") or not (ROOT / name).exists():
            return ""
        if name.startswith("latentseek_core/") and name.endswith(".py") and not name.endswith("__init__.py"):
            target = f"_modules/{name.removesuffix('.py')}.html"
        elif name == "README.md":
            target = "index.html"
        else:
            return f"{REPOSITORY}/{'tree' if (ROOT / name).is_dir() else 'blob'}/main/{name}" + (
                f"#{fragment}" if fragment else ""
            )
        return relpath(target, here.as_posix()) + (f"#{fragment}" if fragment else "")


def line(role, rawtext, text, lineno, inliner, options=None, content=None):
    """{line}`seek.py: some text` links to the one line of the code that has this text, and fails where there is no such line."""
    name, _, wanted = text.partition(":")
    lines = (ROOT / "latentseek_core" / name).read_text("utf-8").splitlines()
    found = [number for number, line in enumerate(lines, 1) if wanted.strip() in line]
    if len(found) != 1:
        problem = inliner.reporter.error(f"{wanted.strip()!r} stands in {len(found)} lines of {name}, not in one", line=lineno)
        return [inliner.problematic(rawtext, rawtext, problem)], [problem]
    here = PurePosixPath(inliner.document.settings.env.docname).parent.as_posix()
    uri = relpath(f"_modules/latentseek_core/{name.removesuffix('.py')}.html", here) + f"#L{found[0]}"
    return [nodes.reference("", "", nodes.literal("", f"{name}:{found[0]}"), refuri=uri, classes=["line"])], []


def number_lines(app, pagename, templatename, context, doctree):
    """The lines of the code's pages can be linked to."""
    if pagename.startswith("_modules/") and "body" in context:
        numbers = re.compile(r'<span class="linenos">( *)(\d+)</span>')
        context["body"] = numbers.sub(r'<span class="linenos" id="L\2">\1\2</span>', context["body"])


def setup(app):
    app.add_transform(LeadOut)
    app.add_role("line", line)
    app.connect("html-page-context", number_lines)
