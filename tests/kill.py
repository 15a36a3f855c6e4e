"""`latentseek run` killed by SIGKILL at random moments until it ends: the results must be those of an unbroken run, line for line.

    python tests/kill.py 200        # kills in all; about 6 s each

The suite does a few of them (`test_cli.py`).
"""

import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = [
    sys.executable,
    "-m",
    "latentseek_core.cli",
    "run",
    "-m",
    "tiny-qwen2-1.8m",
    "-b",
    "tiny-gsm",
    "--max-new-tokens",
    "128",
]
COMMAND += ["--reward", "psrm", "--iterations", "3", "--batch-size", "4"]


def results(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def start(folder: Path, method: str, problems: int) -> subprocess.Popen:
    command = [*COMMAND, "--method", method, "-n", str(problems), "-o", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def until_begun(folder: Path, process: subprocess.Popen) -> None:
    """Waits until the run has its folder: what comes before can't be torn."""
    while process.poll() is None and not (folder / "config.yaml").exists():
        time.sleep(0.01)


def kill_until_done(folder: Path, method: str, problems: int, rng: random.Random, most: int) -> int:
    """Kills a run, at most so many times, and lets it end; returns the number of kills."""
    for kills in range(most + 1):
        process = start(folder, method, problems)
        if kills < most:
            until_begun(folder, process)
            # Half of them soon after the start, when the folder is read and mended, half somewhere amid the problems.
            time.sleep(rng.choice([rng.uniform(0, 0.5), rng.uniform(0, 6)]))
            process.kill()
        if process.wait() == 0:
            return kills
        if process.returncode != -9:
            raise RuntimeError(f"the run in {folder} ended by itself with exit code {process.returncode}")
    raise RuntimeError("unreachable: the last round was not killed")


def check(kills: int, problems: int = 120, seed: int = 0) -> int:
    """Kills so many times in all, over runs of several methods; returns the number of runs compared."""
    rng, compared, whole = random.Random(seed), 0, {}
    with tempfile.TemporaryDirectory() as folder:
        for number, method in enumerate(itertools.cycle(["latentseek", "resample", "cot"])):
            if method not in whole:
                unbroken = Path(folder) / method
                start(unbroken, method, problems).wait()
                whole[method] = results(unbroken)
            broken = Path(folder) / str(number)
            kills -= kill_until_done(broken, method, problems, rng, min(kills, 12))
            if results(broken) != whole[method]:
                raise RuntimeError(f"run {number} ({method}) does not equal the unbroken one; look into {broken}")
            compared += 1
            print(f"run {number} ({method}): equal; {kills} kills to go", flush=True)
            if kills <= 0:
                return compared


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print(f"{check(count)} runs killed {count} times in all, each equal to an unbroken one")
