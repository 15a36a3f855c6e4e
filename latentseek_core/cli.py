"""The command line: `latentseek run …`, `latentseek tiny train NAME`. Bad input gets one sentence and exit code 2."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(help="LatentSeek: reasoning by test-time policy gradient on a frozen language model.", no_args_is_help=True)
tiny = typer.Typer(help="The embedded models.", no_args_is_help=True)
app.add_typer(tiny, name="tiny")


@app.command("run")
def run_command(
    model: Annotated[str, typer.Option("--model", "-m", help="An embedded model's name, a folder, or a hub id.")],
    benchmark: Annotated[str, typer.Option("--benchmark", "-b", help="An embedded benchmark's name, or a .jsonl file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run's folder; an unfinished run there goes on.")],
    method: Annotated[str, typer.Option(help="cot, latentseek or resample.")] = "latentseek",
    reward: Annotated[str, typer.Option(help="self, psrm (an oracle) or self+format.")] = "self",
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="boxed, json, or a .yaml prompt file.")] = "boxed",
    verifiers: Annotated[str, typer.Option(help="The checks of self-reward: the model's own, or a .yaml file.")] = "verifiers",
    split: Annotated[str, typer.Option(help="test, tune or train.")] = "test",
    limit: Annotated[int | None, typer.Option("--limit", "-n", help="Only the first so many problems.")] = None,
    rho: Annotated[float, typer.Option(help="Share of the tokens whose latents are optimised, in (0, 1].")] = 0.2,
    learning_rate: Annotated[float, typer.Option("--lr", help="Step size of the latents.")] = 0.03,
    max_iterations: Annotated[int, typer.Option("--iterations", "-k", help="Most iterations, at least 1.")] = 10,
    reward_threshold: Annotated[float, typer.Option("--threshold", help="A reward above it ends the search.")] = -0.2,
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.")] = 1024,
    temperature: Annotated[float, typer.Option(help="Of sampled answers.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of everything that draws at random.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Problems answered together.")] = 64,
    budget_from: Annotated[
        Path | None, typer.Option(help="A finished run: resample may spend as many answer tokens as it did.")
    ] = None,
) -> None:
    """Answers the problems of a benchmark by a method, one result line a problem, and prints what came out."""
    settings = {name: value for name, value in locals().items()}
    from .runs import load_runs, make_config, run

    _summary(load_runs(run(make_config(**settings))))


def _summary(rows) -> None:
    table = Table("run", "problems", "correct", "iterations", "answer tokens", "verifier tokens")
    numbers = [f"{rows.correct.mean():.1%}"]
    numbers += [f"{rows[name].mean():.1f}" for name in ("n_iterations", "answer_tokens", "verifier_tokens")]
    table.add_row(rows.run[0], str(len(rows)), *numbers)
    Console().print(table)


@app.command("notebook")
def notebook_command(
    path: Annotated[Path, typer.Argument(help="The notebook.")],
    parameter: Annotated[list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE, as often as needed.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the executed notebook and its page go.")] = Path("out"),
    in_place: Annotated[bool, typer.Option("--in-place", help="Execute the notebook where it lies.")] = False,
) -> None:
    """Executes a notebook with papermill and prints its closing table."""
    import yaml

    from .notebooks import closing_text, execute, to_page

    pairs = [text.partition("=") for text in parameter or []]
    if bad := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"parameter {bad[0]!r} has no value; write NAME=VALUE")
    executed = execute(path, {name: _from_here(yaml.safe_load(value)) for name, _, value in pairs}, None if in_place else out)
    typer.echo(closing_text(executed))
    typer.echo(f"the whole notebook: {executed}" if in_place else f"the whole story: {to_page(executed)}")


def _from_here(value: object) -> object:
    """A path that exists as seen from here, made absolute: the notebook runs in its own folder."""
    is_path = isinstance(value, str) and ("/" in value or Path(value).suffix) and Path(value).exists()
    return str(Path(value).resolve()) if is_path else value


@tiny.command("train")
def train_command(
    name: Annotated[str, typer.Argument(help="The embedded model's name.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where checkpoints and the model go.")] = Path("training"),
) -> None:
    """Trains an embedded model by its recipe; an interrupted training goes on where it stopped."""
    from .tiny.recipes import train

    typer.echo(f"trained: {train(name, out)}")


@tiny.command("measure")
def measure_command(
    name: Annotated[str, typer.Argument(help="The embedded model's name.")],
    trained: Annotated[Path | None, typer.Option(help="A freshly trained model's folder, put in the box first.")] = None,
) -> None:
    """Measures an embedded model on its benchmark and writes its card."""
    from .tiny.card import install, measure, write_card

    if trained:
        install(trained, name)
    typer.echo(f"card: {write_card(name, measure(name))}")


@tiny.command("benchmark")
def benchmark_command(out: Annotated[Path, typer.Argument(help="The folder to write test.jsonl and tune.jsonl into.")]) -> None:
    """Writes the committed splits of tiny-gsm anew; the same command always gives the same files."""
    from .tiny.benchmark import write_splits

    typer.echo("\n".join(map(str, write_splits(out))))


def main() -> None:
    try:
        app()
    except (ValueError, RuntimeError) as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"latentseek: {error}", markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
