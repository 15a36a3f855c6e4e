"""Where a run's results come from: files read, by SHA-256, and for each session the machine, the versions and the time."""

import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .configs import RunConfig
from .own import joined, own_file
from .policy import Policy
from .problems import DATA
from .store import Writer, read_origin, sha256

PACKAGES = ("latentseek-kit", "torch", "transformers", "math-verify")


@contextmanager
def session(config: RunConfig, policy: Policy, writer: Writer, total: int) -> Iterator[Callable[[], None]]:
    """Writes down a session of a run of `total` problems: at its start, and once more at its end, however it ends short of a kill.
    Gives a check of the prompt's file, which is read anew for each batch: whether it still is the one written down.

    Raises:
        ValueError: a file that the run depends on is not the one that its earlier sessions read.
    """
    origin = {"inputs": {}, "sessions": []} | read_origin(writer.folder)
    inputs = _inputs(config, policy)
    for name, digest in origin["inputs"].items() if writer.rows else ():  # before the first result, files may still be corrected
        if inputs.get(name) != digest:
            raise ValueError(f"{config.out} was begun with another {name} (SHA-256 {digest[:12]}…); choose another folder")
    done = len(writer.rows)
    origin |= {"problems": total, "inputs": inputs, "sessions": [*origin["sessions"], _circumstances(policy)]}
    writer.write_origin(origin)
    try:
        yield lambda: _same_prompt(config, inputs)
    finally:
        origin["sessions"][-1] |= {"end": _now(), "problems": len(writer.rows) - done}
        writer.write_origin(origin)


def _same_prompt(config: RunConfig, inputs: dict[str, str]) -> None:
    prompt = Path(config.prompt)
    if prompt.is_file() and sha256(prompt) != inputs[prompt.name]:
        raise ValueError(
            f"{prompt} was changed while {config.out} was going; finished problems are kept: put it back, or choose another folder"
        )


def _inputs(config: RunConfig, policy: Policy) -> dict[str, str]:
    """SHA-256 of the weights, and of the files that the configuration names by path."""
    own = filter(None, map(own_file, [*joined(config.reward), *joined(config.variant)]))
    named = [config.prompt, config.verifiers, config.benchmark, config.shots_from or ""]
    files = [*policy.files, *own, *(Path(name) for name in named if name and Path(name).is_file())]
    return {path.name: sha256(path) for path in files}


def _circumstances(policy: Policy) -> dict[str, Any]:
    cuda = policy.device.type == "cuda"
    return {
        "start": _now(),
        "end": None,
        "commit": commit(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name(policy.device) if cuda else f"{policy.device.type}, {platform.machine()}",
        "threads": torch.get_num_threads(),
        "dtype": str(policy.dtype).removeprefix("torch."),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit() -> str | None:
    """The kit's own commit, with a mark where its code differs from it; None where it is not run from a checkout."""
    checkout = DATA.parent
    if not (checkout / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = "-changed" if git("status", "--porcelain", "--", "latentseek_core", "data/models", "data/benchmarks") else ""
    return (git("rev-parse", "HEAD") + changed) or None
