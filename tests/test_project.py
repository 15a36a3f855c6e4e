"""How the project hangs together: floors, pins, what the wheel brings along, what the two commands do."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "latentseek_core"
FLOORS = [
    [
        "store",
        "hub",
        "benchmarks",
        "problems",
        "prompts",
        "published",
        "recipes",
        "notation",
        "symbolic",
        "symbolic_worker",
        "answers",
    ],
    ["policy"],
    ["settings", "variants", "optimisers", "steps", "seek", "rewards", "own", "signals", "coherence"],
    ["attempts", "rivals", "methods"],
    ["configs", "origin", "runs", "sweeps"],
    ["stats", "cost", "tables", "figures"],
    ["cli"],
]
# Only the command line and the notebooks import these.
WINGS = {"tiny", "analyses", "tools"}


def imports_of(path: Path) -> set[str]:
    """The kit's own modules that a file imports, at the top or within a function; names for type checkers don't count."""
    tree, found = ast.parse(path.read_text()), set()
    hints = {
        id(n)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for n in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in hints:
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
    return found


def test_what_stands_lower_never_imports_what_stands_higher():
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    files = {path.stem: path for path in CORE.glob("*.py") if path.stem != "__init__"}
    assert set(files) == set(floor)
    for name, path in files.items():
        above = {other for other in imports_of(path) if floor.get(other, 0) > floor[name]}
        assert not above, f"{name} imports {above} from a higher floor"
        assert name == "cli" or not imports_of(path) & WINGS, f"{name} imports a wing"


@pytest.mark.parametrize("wing", sorted(WINGS))
def test_wings_stand_apart(wing):
    files = [path for path in (CORE / wing).glob("*.py") if path.stem != "__init__"]
    assert files, f"there is no wing {wing}"
    for path in files:
        assert not imports_of(path) & (WINGS - {wing} | {"cli"}), f"{wing}/{path.name} imports another wing or the command line"


def test_only_the_policy_knows_caches():
    for path in CORE.rglob("*.py"):
        assert ("past_key_values" in path.read_text()) == (path.name == "policy.py"), path


@pytest.mark.slow
def test_a_command_without_a_model_starts_without_the_models_code():
    """`latentseek --help`, `table` or `regrade` import torch, but not the model classes of transformers, which take as long again."""
    ask = "import sys, latentseek_core.cli; print(*[name for name in sys.modules if name.startswith('transformers.models.')])"
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split() == []


def test_the_loop_stays_readable():
    assert len((CORE / "seek.py").read_text().splitlines()) <= 250
    assert sum(1 for line in (ROOT / "tests" / "plain.py").read_text().splitlines() if line.strip()) <= 75


def test_versions_are_pinned_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + [
        p for group in project["project"]["optional-dependencies"].values() for p in group
    ]
    assert all(
        "==" in package or package.startswith("latentseek-kit[") for package in wanted + project["build-system"]["requires"]
    )
    names = {package.split("==")[0] for package in wanted}
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert environment == ["python >=3.11,<3.14", "pip", {"pip": ["--editable .[dev]"]}]
    assert project["project"]["requires-python"] == ">=3.11,<3.14"
    makefile, ci = (ROOT / "Makefile").read_text(), (ROOT / ".ci" / "run").read_text()
    assert makefile.count("pip install") == 1
    assert "--editable '.[dev]'" in makefile
    assert "pip install" not in ci
    assert ci.strip().endswith("make test")
    used = {
        "torch",
        "transformers",
        "pandas",
        "matplotlib",
        "seaborn",
        "papermill",
        "pytest",
        "scipy",
        "statsmodels",
        "filelock",
        "datasets",
        "math-verify",
        "tqdm",
        "typer",
        "pydantic",
    }
    assert used <= names


def test_make_run_ends_with_the_next_step():
    told = ["make", "--no-print-directory", "-n", "run"]  # the tests themselves may have been started by make
    shown = subprocess.run(told, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "notebooks/00_quickstart.ipynb" in shown[-2]
    assert "source .venv/bin/activate" in shown[-1]
    assert "book/evening.md" in shown[-1]


def test_the_readme_begins_with_how_to_get_the_kit():
    repository = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    block = (ROOT / "README.md").read_text().split("```")[1]
    assert block.split()[:6] == ["git", "clone", repository, "cd", repository.rpartition("/")[2], "make"]


def test_no_path_of_a_machine_is_named():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    kinds = {".py", ".md", ".toml", ".yml", ".yaml", ".ipynb", ".json", ".jsonl"}
    for name in tracked:
        path = ROOT / name
        if path.suffix in kinds and path.is_file():
            assert str(ROOT.parent) + "/" not in path.read_text() or len(str(ROOT.parent)) < 3, name


@pytest.mark.slow
def test_the_wheel_brings_models_and_benchmarks_along(tmp_path):
    """Built, unpacked elsewhere and used there: the embedded model answers a problem of the embedded benchmark."""
    subprocess.run([sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT], check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "site")
    code = (
        "import latentseek_core as kit, pathlib, sys\n"
        "assert pathlib.Path(kit.__file__).is_relative_to(sys.argv[1])\n"
        "policy = kit.Policy.from_pretrained(kit.embedded_models()[0])\n"
        "problem = kit.load_benchmark(kit.embedded_benchmarks()[0], limit=1)[0]\n"
        "print(policy.generate([policy.encode(kit.render_prompt(problem))], max_new_tokens=9)[0].decoded)\n"
        "print(sorted(kit.SelfReward(policy).weights))\n"
    )
    site = str(tmp_path / "site")
    done = subprocess.run(
        [sys.executable, "-c", code, site], cwd=tmp_path, env={"PYTHONPATH": site}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("9\n['answer_completeness'")
