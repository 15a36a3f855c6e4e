"""Notebooks are tests: executed small, as a reader would, and committed with their outputs."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook
from transformers import Olmo2Config, Olmo2ForCausalLM

from latentseek_core import Policy, embedded_models
from latentseek_core.tools.notebooks import closing_text, execute, find_notebook, source_hash, to_page

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
DEFAULT = "tiny-qwen2-1.8m"
READ_ONLY = {"18_beyond", "21_real_model"}  # these read finished runs and load no model: one is enough


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_in_order(path):
    cells = json.loads(path.read_text())["cells"]
    tags = [tag for cell in cells for tag in cell["metadata"].get("tags", [])]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert tags.count("parameters") == 1
    assert tags.count("closing") == 1
    assert all(cell["execution_count"] for cell in code), "committed without having been run"
    assert not any(output["output_type"] == "error" for cell in code for output in cell["outputs"])
    assert all(len("".join(cell["source"]).splitlines()) <= 30 for cell in code)
    assert cells[0]["cell_type"] == "markdown"


def shown(path):
    """Everything that a committed notebook's outputs show, as text."""
    outputs = [output for cell in json.loads(path.read_text())["cells"] for output in cell.get("outputs", [])]
    for output in outputs:
        for content in [output.get("text", ""), *output.get("data", {}).values()]:
            yield output["output_type"], output.get("name"), "".join(content) if isinstance(content, list) else str(content)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_show_a_figure_and_nothing_that_went_wrong(path):
    cells = json.loads(path.read_text())["cells"]
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))
    for kind, name, text in shown(path):
        assert kind != "error"
        assert name != "stderr", text
        assert not re.search(r"Warning:|Traceback|/(?:home|Users|tmp|root|work)/", text[:100_000])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_opens_in_colab(path):
    """The badge leads to this notebook in the repository that pyproject.toml names, and the first code installs the kit from there."""
    repository = tomllib.loads((path.parents[1] / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    place = repository.replace("https://github.com/", "https://colab.research.google.com/github/")
    cells = json.loads(path.read_text())["cells"]
    assert f"({place}/blob/main/notebooks/{path.name})" in "".join(cells[0]["source"])
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    assert f'"git+{repository}"' in "".join(first["source"])


def with_two_models() -> list:
    """Each notebook with the default model and with one of the others, these in turn: each of them with a quarter of the notebooks."""
    others = [name for name in embedded_models() if name != DEFAULT]
    models = {path: [DEFAULT, others[i % len(others)]][: 1 if path.stem in READ_ONLY else 2] for i, path in enumerate(NOTEBOOKS)}
    pairs = [(path, name) for path, names in models.items() for name in names]
    return [pytest.param(*pair, id=f"{pair[0].stem}-{pair[1]}") for pair in pairs]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "model"), with_two_models())
def test_runs_small_with_embedded_models(path, model, tmp_path):
    executed = execute(path, {"quick": True, "model": model, "out": str(tmp_path / "out")}, tmp_path)
    assert closing_text(executed).strip()
    assert "%|" not in executed.read_text(), "a progress bar is left in the outputs"
    assert "<html" in to_page(executed).read_text()


@pytest.fixture(scope="session")
def stranger(tmp_path_factory) -> Path:
    """A folder as the hub has them, with a random model of a family that the kit doesn't bring and a tokenizer of its own."""
    folder = tmp_path_factory.mktemp("hub") / "stranger"
    tokenizer = Policy.from_pretrained(embedded_models()[0]).tokenizer
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = Olmo2Config(
        **shape, vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    Olmo2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "04_main_table",
        "05_trained_baselines",
        "06_iterations",
        "07_extreme_scaling",
        "08_statistics",
        "09_best_of_n",
        "10_decoding",
        "11_outcome_reward",
        "12_fraction_ratio",
        "13_word_clouds",
        "14_case_studies",
        "16_flops",
        "17_controls",
    ],
)
def test_runs_with_a_model_never_seen_before(name, stranger, tmp_path):
    parameters = {"quick": True, "model": str(stranger), "max_new_tokens": 48, "out": str(tmp_path / "out")}
    assert closing_text(execute(find_notebook(name), parameters, tmp_path)).strip()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate": 1}, "00_quickstart.ipynb has no parameter 'rate'; it has model, benchmark"),
        ({"n": "many"}, "00_quickstart.ipynb: n is 'many'; it takes a int, such as 64"),
        ({"quick": 1}, "quick is 1; it takes a bool, such as False"),
        ({"rho": 1.5}, "rho"),
        ({"n": 0}, "RunConfig.limit is 0"),
        ({"prompt": "xml"}, "prompt"),
        ({"model": "tiny-qwen"}, "unknown model 'tiny-qwen': use one of tiny-"),
        ({"benchmark": "gsm9k"}, "unknown benchmark 'gsm9k'"),
    ],
)
def test_a_wrong_parameter_is_refused_before_a_kernel_starts(wrong, said, tmp_path, monkeypatch):
    monkeypatch.setattr("papermill.execute_notebook", lambda *args, **options: pytest.fail("a kernel was started"))
    with pytest.raises(ValueError, match=re.escape(said)):
        execute(NOTEBOOKS[0], wrong, tmp_path)


def test_outputs_belong_to_the_code_beside_them(tmp_path):
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        assert notebook.metadata["source_sha256"] == source_hash(notebook), f"execute {path.name} again"
    notebook.cells[-1].source += "\nprint()"
    assert notebook.metadata["source_sha256"] != source_hash(notebook)


def test_outputs_belong_to_the_weights_they_were_made_with(monkeypatch):
    notebook = nbformat.read(NOTEBOOKS[1], as_version=4)
    monkeypatch.setattr("latentseek_core.tools.notebooks.sha256", lambda path: f"{path.parent.name}, trained again")
    assert notebook.metadata["source_sha256"] != source_hash(notebook)


def test_a_notebook_is_found_by_path_or_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_notebook("00_quickstart").samefile(NOTEBOOKS[0])
    assert find_notebook(str(NOTEBOOKS[0])) == NOTEBOOKS[0]
    assert [find_notebook(name).stem for name in ("0", "06", "6")] == ["00_quickstart", "06_iterations", "06_iterations"]
    for name in ("99", "99_nowhere", "elsewhere/00_quickstart.ipynb"):
        with pytest.raises(ValueError, match=f"there is no notebook {name}; give a path, a number, or one of 00_quickstart"):
            find_notebook(name)


def notebook_of(source: str, path: Path) -> Path:
    cells = [new_code_cell("n = 1", metadata={"tags": ["parameters"]}), new_code_cell(source, metadata={"tags": ["closing"]})]
    nbformat.write(
        new_notebook(cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}), path
    )
    return path


@pytest.mark.slow
def test_grading_and_runs_work_inside_jupyter(tmp_path):
    """Where the main thread belongs to a kernel: algebra in its worker process, a run with its signal handler."""
    source = f"""
import signal, warnings
from latentseek_core import RunConfig, is_correct, load_runs, run
assert is_correct(r"\\boxed{{(x+1)^2}}", "x^2+2x+1", style="boxed", benchmark="math500")
assert not is_correct(r"\\boxed{{(x+1)^3}}", "x^2+2x+1", style="boxed", benchmark="math500")
before = signal.getsignal(signal.SIGINT)
run(RunConfig(model="tiny-qwen2-1.8m", benchmark="tiny-gsm", method="cot", limit=n, max_new_tokens=8, out={str(tmp_path / "run")!r}))
assert signal.getsignal(signal.SIGINT) == before
print(len(load_runs({str(tmp_path / "run")!r})), "problems")
"""
    executed = execute(notebook_of(source, tmp_path / "small.ipynb"), {"n": 2}, tmp_path / "out")
    assert closing_text(executed).strip() == "2 problems"


@pytest.mark.slow
def test_plain_papermill_works_from_any_folder(tmp_path):
    command = [
        sys.executable,
        "-m",
        "papermill",
        str(NOTEBOOKS[0]),
        "out.ipynb",
        "-p",
        "quick",
        "True",
        "-p",
        "n",
        "4",
        "-p",
        "out",
        "runs",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "runs" / "accuracy.png").is_file()
    assert closing_text(tmp_path / "out.ipynb").strip()
