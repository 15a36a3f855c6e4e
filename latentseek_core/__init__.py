"""LatentSeek (arXiv 2505.13308): reasoning by test-time policy gradient on a frozen language model's last hidden states."""

from functools import partial

from .answers import extract_answer, is_correct
from .configs import RunConfig
from .policy import Completion, Policy, embedded_models
from .problems import GENERATORS, Problem, embedded_benchmarks, load_benchmark
from .prompts import render_prompt
from .rewards import FormatReward, OutcomeReward, PerfectSparseReward, Score, SelfReward
from .runs import load_runs, run
from .seek import seek, seek_steps
from .settings import SeekConfig
from .steps import SeekResult, SeekStep
from .tiny.benchmark import DRAW, draw_problems

GENERATORS.update({name: partial(draw_problems, name) for name in DRAW})

__all__ = [
    "Completion",
    "FormatReward",
    "OutcomeReward",
    "PerfectSparseReward",
    "Policy",
    "Problem",
    "RunConfig",
    "Score",
    "SeekConfig",
    "SeekResult",
    "SeekStep",
    "SelfReward",
    "embedded_benchmarks",
    "embedded_models",
    "extract_answer",
    "is_correct",
    "load_benchmark",
    "load_runs",
    "render_prompt",
    "run",
    "seek",
    "seek_steps",
]
