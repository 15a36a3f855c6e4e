"""The command line: `latentseek run …`, `latentseek tiny train NAME`. Bad input gets one sentence and exit code 2."""

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from .benchmarks import HUB
from .configs import REWARDS
from .methods import METHODS
from .own import blame, from_here
from .policy import MODELS_FOLDER, embedded_models
from .problems import embedded_benchmarks

app = typer.Typer(help="LatentSeek: reasoning by test-time policy gradient on a frozen language model.", no_args_is_help=True)
tiny = typer.Typer(help="The embedded models.", no_args_is_help=True)
app.add_typer(tiny, name="tiny")


def _option(*names: str, help: str):
    """A flag that leaves its setting alone unless it is given; its long name is the setting's."""
    return typer.Option(*names, help=help, show_default=False)


@contextmanager
def _resumable():
    """Ctrl-C in a sentence, and the exit code that shells expect."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        _say(f"{stopped or 'stopped'}; the same command goes on from there")
        raise typer.Exit(130) from None


@app.command("run")
def run_command(
    model: Annotated[str | None, _option("--model", "-m", help="π: an embedded model's name, a folder, or a hub id.")] = None,
    benchmark: Annotated[
        str | None,
        _option("--benchmark", "-b", help="gsm8k, math500, aime2024, gsm-symbolic, an embedded one, or a file or folder."),
    ] = None,
    out: Annotated[Path | None, _option("--out", "-o", help="The run's folder; an unfinished run there goes on.")] = None,
    method: Annotated[str | None, _option(help=f"How to answer: {', '.join(METHODS)}.")] = None,
    reward: Annotated[
        str | None, _option(help=f"R(x, c): {', '.join(REWARDS)}, FILE.py:FUNCTION, or a sum (self+format).")
    ] = None,
    variant: Annotated[
        str | None, _option(help="What replaces a part of latentseek: random, constant_stop, sampled, …, or FILE.py:CLASS.")
    ] = None,
    prompt: Annotated[str | None, _option("--prompt", "-p", help="c: boxed (prompt 1), json (prompt 2), or FILE.yaml.")] = None,
    setting: Annotated[str | None, _option(help="clean: Algorithm 1 as printed; reference: the authors' code.")] = None,
    split: Annotated[str | None, _option(help="test, tune or train.")] = None,
    limit: Annotated[int | None, _option("--limit", "-n", help="Only the first so many problems.")] = None,
    seed: Annotated[int | None, _option(help="Of everything that draws at random.")] = None,
    rho: Annotated[float | None, _option(help="ρ: share of the tokens whose latents are optimised, in (0, 1].")] = None,
    learning_rate: Annotated[float | None, _option("--lr", help="η: step size of the latents.")] = None,
    max_iterations: Annotated[int | None, _option("--iterations", "-k", help="K: most iterations, at least 1.")] = None,
    reward_threshold: Annotated[float | None, _option("--threshold", help="τ: a reward above it ends the search.")] = None,
    max_new_tokens: Annotated[int | None, _option(help="Most tokens of an answer.")] = None,
    temperature: Annotated[float | None, _option(help="Of sampled answers (best_of_n, self_consistency, resample).")] = None,
    n_samples: Annotated[int | None, _option("--n-samples", "-N", help="N of best_of_n and self_consistency.")] = None,
    shots: Annotated[int | None, _option(help="Worked examples that few_shot shows.")] = None,
    verifiers: Annotated[
        str | None, _option(help="The four checks of self-reward: the model's own or the kit's, or FILE.yaml.")
    ] = None,
    reward_model: Annotated[str | None, _option(help="The model behind the reward `outcome` (section E.5).")] = None,
    budget_from: Annotated[Path | None, _option(help="A finished run: resample may spend as many answer tokens.")] = None,
    batch_size: Annotated[int | None, _option(help="Problems answered together.")] = None,
    device: Annotated[str | None, _option(help="cpu, cuda, …; a GPU if there is one.")] = None,
    dtype: Annotated[str | None, _option(help="float32, bfloat16, float16; float32 on a CPU, else the checkpoint's own.")] = None,
    shard: Annotated[str | None, _option(help="i/n: only the i-th of n parts of the problems.")] = None,
    recipe: Annotated[
        str | None, _option(help="A published setting, such as table1/gsm8k-qwen2.5-7b-self-json; see `latentseek recipes`.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A YAML file of settings, such as a run's config.yaml.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", "-s", help="NAME=VALUE: any other setting of RunConfig.")] = None,
) -> None:
    """Answers the problems of a benchmark by a method, one result line a problem, and prints what came out.

    What is given counts in this order, the last most: recipe, configuration file, flags, --set.
    """
    flags = {name: value for name, value in locals().items() if value is not None and name not in ("config", "set_")}
    from .configs import make_config
    from .recipes import recipe as published
    from .runs import load_runs, run
    from .store import read_settings

    settings = published(recipe) if recipe else {}
    settings |= (read_settings(config) if config else {}) | flags | _pairs(set_)
    with _resumable():
        folder = run(make_config(**settings))
    _print_table(load_runs(folder))


@app.command("sweep")
def sweep_command(
    file: Annotated[Path, typer.Argument(help="A YAML file with out, name, base and grid.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The folder for the runs, in place of the file's.")] = None,
    shard: Annotated[str, typer.Option(help="i/n: of each run only the i-th of n parts; several machines share a sweep.")] = "",
    only: Annotated[str, typer.Option(help="A pattern for the names of the runs to do.")] = "*",
    set_: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="NAME=VALUE: a setting for all runs, in place of the file's base.")
    ] = None,
) -> None:
    """Does all runs of a grid; what is finished is not done again."""
    from .runs import load_runs
    from .sweeps import read_sweep, sweep

    configs = read_sweep(file, shard=shard, only=only, **_pairs(set_) | ({"out": out} if out else {}))
    with _resumable():
        folders = list(sweep(configs))
    _print_table(load_runs(folders))


@app.command("table")
def table_command(
    runs: Annotated[list[str], typer.Argument(help="Run folders, packed runs, or patterns.")],
    csv: Annotated[Path | None, typer.Option(help="Also write the table to this file.")] = None,
) -> None:
    """Prints runs side by side: accuracy with its 95 % interval, n, McNemar's test against the chain of thought, tokens a problem."""
    from .runs import load_runs

    _print_table(load_runs(runs), csv)


@app.command("ledger")
def ledger_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="The page (.md); its rows go beside it as .csv.")] = Path(
        "out/ledger.md"
    ),
    runs: Annotated[Path | None, typer.Option(help="The folder with runs, in place of the committed ones.")] = None,
) -> None:
    """Holds each claim of the paper against the runs: effect, interval, verdict by a rule, a column for each model and task."""
    from .tools.ledger import RUNS, write_ledger

    for path in write_ledger(out, runs or RUNS):
        typer.echo(f"written: {path}")


@app.command("doctor")
def doctor_command(
    model: Annotated[str, typer.Argument(help="π: an embedded model's name, a folder, or a hub id.")],
    benchmark: Annotated[str, typer.Option("--benchmark", "-b", help="Whose problems are asked.")] = "tiny-gsm",
    limit: Annotated[int | None, _option("--limit", "-n", help="The problems of the run to be estimated; all of them.")] = None,
    method: Annotated[str, typer.Option(help=f"The run's method: {', '.join(METHODS)}.")] = "latentseek",
    reward: Annotated[str | None, _option(help=f"The run's R(x, c): {', '.join(REWARDS)}, as for `run`.")] = None,
    prompt: Annotated[str | None, _option("--prompt", "-p", help="c: boxed (prompt 1), json (prompt 2), or FILE.yaml.")] = None,
    rho: Annotated[float | None, _option(help="ρ: share of the tokens whose latents are optimised, in (0, 1].")] = None,
    learning_rate: Annotated[float | None, _option("--lr", help="η: step size of the latents.")] = None,
    max_new_tokens: Annotated[int | None, _option(help="Most tokens of an answer.")] = None,
    max_iterations: Annotated[int | None, _option("--iterations", "-k", help="K: most iterations, at least 1.")] = None,
    device: Annotated[str | None, _option(help="cpu, cuda, …; a GPU if there is one.")] = None,
    dtype: Annotated[str | None, _option(help="float32, bfloat16, float16; float32 on a CPU, else the checkpoint's own.")] = None,
    problems: Annotated[int, typer.Option(help="How many problems to measure on; fewer take less time.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a page.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="NAME=VALUE: any other setting of the run, such as verifiers.")
    ] = None,
) -> None:
    """Looks at a model before a long run: head, prompt, speed, memory, latents, and the hours that the run will take."""
    given = {name: value for name, value in locals().items() if value is not None}
    flags = {name: value for name, value in given.items() if name not in ("problems", "as_json", "set_")}
    import json

    from .configs import make_config
    from .prompts import solver_prompt, verifier_prompt
    from .runs import load_policy, named_model
    from .tools.doctor import examine, page

    config = make_config(**flags | _pairs(set_) | {"out": "doctor"})
    solver_prompt(config.prompt)  # a wrong one is better said before a model is loaded
    verifier_prompt(config.verifiers)
    report = examine(load_policy(*named_model(config)), config, count=problems)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False, indent=2, allow_nan=False))
    else:
        Console().print(page(report))


@app.command("regrade")
def regrade_command(runs: Annotated[list[str], typer.Argument(help="Run folders, packed runs, or patterns.")]) -> None:
    """Grades the stored answers of runs again, without a model."""
    from .runs import regrade

    for path in _expand(runs):
        changed, total = regrade(path)
        typer.echo(f"{path}: {changed} of {total} answers are graded otherwise than before")


@app.command("pack")
def pack_command(runs: Annotated[list[str], typer.Argument(help="Run folders, or patterns.")]) -> None:
    """Turns finished runs into one compressed file each."""
    from .runs import pack

    for path in _expand(runs):
        typer.echo(f"packed: {pack(path)}")


@app.command("recipes")
def recipes_command(pattern: Annotated[str, typer.Argument(help="Such as 'table1/gsm8k-*'.")] = "*") -> None:
    """Lists the published settings that --recipe knows."""
    from .recipes import recipe_names

    typer.echo("\n".join(recipe_names(pattern)))


def _expand(patterns: list[str]) -> list[Path]:
    from .runs import matching_runs

    return [path for pattern in patterns for path in matching_runs(pattern)]


def _pairs(texts: list[str] | None) -> dict[str, object]:
    """NAME=VALUE, the value read as YAML."""
    import yaml

    pairs = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r} has no value; write NAME=VALUE")
        pairs[name] = yaml.safe_load(value)
    return pairs


def _print_table(rows, csv: Path | None = None) -> None:
    from .tables import comparison_table

    table = comparison_table(rows)
    if csv:
        table.to_csv(csv, index=False)
    shown = Table(
        Column("run", overflow="fold"),
        "n",
        "solved [95 %]",
        "loose",
        "won / lost",
        "p (Holm)",
        "prompt",
        "answer",
        "verdict",
        "published",
    )
    for row in table.itertuples():
        solved = f"{row.accuracy:.1%} [{row.low:.1%}, {row.high:.1%}]"
        compared = [f"+{row.won:.0f} / −{row.lost:.0f}", f"{row.p:.2g} ({row.p_holm:.2g})"] if row.p == row.p else ["", ""]
        tokens = [f"{row.prompt_tokens:.0f}", f"{row.answer_tokens:.0f}", f"{row.verifier_tokens:.0f}"]
        shown.add_row(
            row.run,
            str(row.n),
            solved,
            f"{row.loose:.1%}",
            *compared,
            *tokens,
            f"{row.published:.1f}%" if row.published == row.published else "",
        )
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(shown)
    console.print(
        "against the chain of thought on the same problems, McNemar's exact test; tokens are means a problem", style="dim"
    )


@app.command("notebook")
def notebook_command(
    name: Annotated[str, typer.Argument(help="A notebook's path, or the name or number of one of the kit's: 00_quickstart, 06.")],
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE, as often as needed.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the executed notebook and its page go.")] = Path("out"),
    in_place: Annotated[bool, typer.Option("--in-place", help="Execute the notebook where it lies.")] = False,
) -> None:
    """Executes a notebook with papermill and prints its closing table."""
    from .tools.notebooks import closing_text, execute, find_notebook, to_page

    executed = execute(find_notebook(name), _parameters(parameter), None if in_place else out)
    typer.echo(closing_text(executed))
    typer.echo(f"the whole notebook: {executed}" if in_place else f"the whole story: {to_page(executed)}")


@app.command("report")
def report_command(
    model: Annotated[str, typer.Option("--model", "-m", help="π: an embedded model's name, a folder, or a hub id.")],
    benchmark: Annotated[str, typer.Option("--benchmark", "-b", help="Whose problems are asked.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The report's folder; what is finished there is not done again.")],
    quick: Annotated[bool, typer.Option("--quick", help="Few problems and iterations: does it work?")] = False,
    only: Annotated[str, typer.Option(help="Some of the notebooks by their numbers: 02,06.")] = "",
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE, for every notebook that has it.")
    ] = None,
) -> None:
    """Runs all notebooks that take a model on this one, then makes a book of them."""
    from .tools.report import report

    with _resumable():
        page = report(model, benchmark, out, quick=quick, only=only, parameters=_parameters(parameter))
    typer.echo(f"the report: {page}")


@app.command("book")
def book_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder for the pages and the site.")] = Path("out/book"),
) -> None:
    """Builds the book from the repository's pages and its executed notebooks."""
    from .tools.book import build_book

    typer.echo(f"the book: {build_book(out)}")


def _parameters(texts: list[str] | None) -> dict[str, object]:
    """A notebook's parameters with the files and folders among them made absolute: it runs in its own folder, not here."""
    return {name: _from_here(name, value) if isinstance(value, str) else value for name, value in _pairs(texts).items()}


def _from_here(name: str, value: str) -> str:
    known = {*embedded_models(), *embedded_benchmarks(), *HUB}
    is_path = "/" in value or Path(value).suffix or (name in ("model", "benchmark") and value not in known)
    if value and (name == "out" or (is_path and Path(value).exists())):
        return str(Path(value).resolve())
    return from_here(value)


@tiny.command("train")
def train_command(
    name: Annotated[str, typer.Argument(help="The embedded model's name.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where checkpoints and the model go.")] = Path("training"),
    seed: Annotated[int, typer.Option(help="Of the first weights, the examples and the samples.")] = 0,
) -> None:
    """Trains an embedded model by its recipe; an interrupted training goes on where it stopped."""
    from .tiny.recipes import train

    typer.echo(f"trained: {train(name, out, seed)}")


@tiny.command("measure")
def measure_command(
    name: Annotated[str, typer.Argument(help="The embedded model's name.")],
    trained: Annotated[Path | None, typer.Option(help="A freshly trained model's folder, put in the box first.")] = None,
    again: Annotated[
        int | None,
        typer.Option(
            help="The seed that `trained` was trained with: it stays out of the box, whose card says which figures moved."
        ),
    ] = None,
) -> None:
    """Measures an embedded model on its benchmarks and writes its card."""
    from .tiny.card import install, measure, measure_again, write_card

    if again is not None:
        if trained is None:
            raise ValueError("--again needs the other training's folder: --trained FOLDER/model")
        typer.echo(f"measured: {measure_again(trained, name, again)}; figures that moved are in the card of {name}")
        return
    if trained:
        install(trained, MODELS_FOLDER / name)
    typer.echo(f"card: {write_card(name, measure(MODELS_FOLDER / name))}")


@tiny.command("outcome")
def outcome_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder that the model's folder goes into.")] = MODELS_FOLDER,
    seed: Annotated[int, typer.Option(help="Of the answers and their order.")] = 0,
) -> None:
    """Trains and measures the outcome reward model, `tiny-outcome`."""
    from .tiny.outcome import measure_outcome, train_outcome, write_outcome_card

    folder = train_outcome(out, seed)
    typer.echo(f"card: {write_outcome_card(folder, measure_outcome(folder))}")


@tiny.command("benchmark")
def benchmark_command(
    out: Annotated[Path, typer.Argument(help="The folder that a folder for each benchmark goes into.")],
) -> None:
    """Writes the committed splits of the embedded benchmarks anew; the same command always gives the same files."""
    from .tiny.benchmark import write_splits

    typer.echo("\n".join(map(str, write_splits(out))))


def main() -> None:
    try:
        app()
    except Exception as error:
        said = blame(error)
        if not (said or isinstance(error, ValueError | RuntimeError | OSError)):
            raise
        _say(" ".join((said or str(error)).split()))
        sys.exit(2)


def _say(message: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"latentseek: {message}", markup=False)


if __name__ == "__main__":
    main()
