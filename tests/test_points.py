"""What a notebook asserts can fail: its `point` cell, run alone on numbers on which the point is false."""

import ast
import traceback
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))

# One entry a notebook: values on which all assertions of its `point` cell hold, and changes to them, at least one an assertion,
# that make it fail.
DOCTORED = {
    "01_policy_gradient": {
        "true": {
            "hand_gap": 1e-16,
            "autograd_gap": 1e-16,
            "sampling_error": 1.9,
            "baseline_shift": 1e-17,
            "variance_plain": 0.62,
            "variance_mean": 0.144,
            "variance_least": 0.140,
            "suffix_gap": 1e-16,
            "greedy_gap": 1e-16,
            "leak_gap": 0.015,
            "closed_gap": 1e-16,
            "mean_reward": -0.59,
            "best_of": [-0.59, -0.38, -0.27],
            "seek_gap": 1e-7,
            "loss_gap": 1e-8,
            "head_gap": 1e-15,
        },
        "false": [
            {"hand_gap": 1e-3},
            {"autograd_gap": 1e-3},
            {"sampling_error": 6.0},
            {"baseline_shift": 1e-3},
            {"variance_mean": 0.62},
            {"variance_least": 0.2},
            {"suffix_gap": 1e-3},
            {"greedy_gap": 1e-3},
            {"leak_gap": 1e-16},
            {"closed_gap": 1e-3},
            {"mean_reward": -0.5},
            {"best_of": [-0.59, -0.27, -0.38]},
            {"seek_gap": 0.2},
            {"loss_gap": 0.1},
            {"head_gap": 1e-3},
        ],
    },
    "02_algorithm_one": {
        "true": {
            "model": "tiny-qwen2-1.8m",
            "n": 16,
            "exact": True,
            "steps_apart": 0,
            "reward_gap": 0.0,
            "latent_gap": 1e-7,
            "longest": 10,
            "max_iterations": 10,
            "largest_move": 0.03,
            "learning_rate": 0.03,
            "adam_gap": 0.01,
            "plain_ratio": 10.0,
            "clean_behind": 0,
            "flip_count": 6,
            "same_words": 11,
            "n_steps": 11,
        },
        "false": [
            {"steps_apart": 1},
            {"reward_gap": 0.5},
            {"latent_gap": 0.1},
            {"longest": 11},
            {"largest_move": 0.3},
            {"adam_gap": 0.9},
            {"plain_ratio": 1.0},
            {"clean_behind": 3},
            {"flip_count": 0},
            {"same_words": 5},
        ],
    },
    "03_rewards": {
        "true": {
            "run_model": "tiny-qwen2-1.8m",
            "first": range(1000),
            "exact": True,
            "hand_gap": 0.0,
            "oracle_errors": 0,
            "unreadable_at_one": 1.0,
            "mismatches": 0,
            "corner_cot": 0.6,
            "cot_accuracy": 0.6,
            "corner_oracle": 0.9,
            "oracle_share": 0.9,
            "corner_never": 0.7,
            "last_accuracy": 0.7,
            "rising": 0.0,
            "falling": 0.0,
            "judge_gap": 0.9,
        },
        "false": [
            {"hand_gap": 1 / 6},
            {"oracle_errors": 1},
            {"unreadable_at_one": 0.75},
            {"mismatches": 1},
            {"corner_cot": 0.61},
            {"corner_oracle": 0.88},
            {"corner_never": 0.6},
            {"rising": -0.1},
            {"falling": 0.1},
            {"judge_gap": 0.1},
        ],
    },
    "04_main_table": {
        "true": {
            "model": "tiny-qwen2-1.8m",
            "n": 16,
            "max_iterations": 10,
            "lost_live": 0,
            "lost_finished": 0,
            "most_iterations": 10,
            "problems_by_run": [16, 16],
            "difference_gap": 1e-17,
            "off_v1": 3,
            "off_v3": 0,
            "least_p": [0.25, 1.0],
            "closed_form": [0.25, 1.0],
            "enough": 6,
            "oracle_gain": 355.0,
        },
        "false": [
            {"lost_live": 1},
            {"lost_finished": 2},
            {"most_iterations": 11},
            {"problems_by_run": [16, 15]},
            {"difference_gap": 0.001},
            {"off_v1": 2},
            {"off_v3": 1},
            {"least_p": [0.2, 1.0]},
            {"enough": 5},
            {"enough": 7},
            {"oracle_gain": 0.0},
        ],
    },
    "06_iterations": {
        "true": {
            "oracle_accuracy": [0.5, 0.6, 0.7],
            "own_accuracy": [0.5, 0.6, 0.55],
            "tokens_spent": [80.0, 90.0, 95.0],
            "still_running": [0.0, 0.0],
            "effect_expected": True,
        },
        "false": [
            {"oracle_accuracy": [0.5, 0.7, 0.6]},
            {"own_accuracy": [0.4, 0.6, 0.55]},
            {"tokens_spent": [80.0, 79.0, 95.0]},
            {"still_running": [0.0, 0.1]},
            {"oracle_accuracy": [0.5, 0.5, 0.5]},
        ],
    },
    "09_best_of_n": {
        "true": {
            "printed_gaps": {"gsm8k": 10.45, "math500": 3.24, "aime2024": 2.67},
            "one_apart": 1e-17,
            "all_apart": 0.0,
            "oracle_falls": 0.0,
            "oracle_below": -1e-17,
            "starts_apart": 0.0,
            "fewer_apart": 0,
            "effects": True,
            "search_ahead": 0.03,
            "vote_ahead": -0.05,
        },
        "false": [
            {"printed_gaps": {"gsm8k": 10.45, "math500": 3.68, "aime2024": 2.67}},
            {"one_apart": 0.5},
            {"all_apart": 0.1},
            {"oracle_falls": -0.01},
            {"oracle_below": -0.2},
            {"starts_apart": 1.0},
            {"fewer_apart": 3},
            {"search_ahead": -0.01},
            {"vote_ahead": 0.02},
        ],
    },
    "10_decoding": {
        "true": {
            "greedy_wins": 10,
            "mean_difference": 3.72,
            "starts_apart": 0,
            "lost_by_oracle": 0,
            "seeds_alike": 0,
            "effects": True,
            "drawn_ahead": -0.06,
        },
        "false": [
            {"greedy_wins": 9},
            {"mean_difference": 4.1},
            {"starts_apart": 1},
            {"lost_by_oracle": 2},
            {"seeds_alike": 1},
            {"drawn_ahead": 0.01},
        ],
    },
    "11_outcome_reward": {
        "true": {
            "mean_gain": 3.23,
            "below_plain": 2,
            "inside": True,
            "judge_apart": 1e-7,
            "cut_apart": 0,
            "samples_apart": 0,
            "given_up_by_oracle": 0,
            "effects": True,
            "chosen": -0.45,
            "threshold": -0.45,
            "own_tells_more": 0.15,
            "solved": {"self": 0.6, "outcome": 0.55, "psrm": 0.75},
        },
        "false": [
            {"mean_gain": 3.3},
            {"below_plain": 0},
            {"inside": False},
            {"judge_apart": 0.1},
            {"cut_apart": 4},
            {"samples_apart": 1},
            {"given_up_by_oracle": 1},
            {"chosen": -0.2},
            {"own_tells_more": -0.05},
            {"solved": {"self": 0.5, "outcome": 0.55, "psrm": 0.75}},
        ],
    },
    "12_fraction_ratio": {
        "true": {
            "starts": {0.1: 0.5, 0.4: 0.5},
            "ends": {0.1: 0.6, 0.4: 0.55},
            "shares": [0.0, 0.4, 1.0],
            "twice": 0.0,
            "reward": "psrm",
            "effect_expected": True,
        },
        "false": [
            {"starts": {0.1: 0.5, 0.4: 0.45}},
            {"ends": {0.1: 0.6, 0.4: 0.45}},
            {"shares": [0.0, 1.4]},
            {"twice": 0.01},
            {"ends": {0.1: 0.5, 0.4: 0.5}},
        ],
    },
    "13_word_clouds": {
        "true": {
            "totals": [1000] * 6,
            "n_answers": 1000,
            "moved_at_rest": 0,
            "beyond_opening": 0,
            "misjudged": [],
            "model": "tiny-qwen2-1.8m",
            "n": 48,
            "kept_openings": 0.07,
        },
        "false": [
            {"totals": [1000] * 5 + [999]},
            {"moved_at_rest": 1},
            {"beyond_opening": 1},
            {"misjudged": ["thecy"]},
            {"kept_openings": 0.9},
        ],
    },
    "14_case_studies": {
        "true": {
            "broken_by_oracle": 0,
            "shown_steps": 3,
            "n_steps": 3,
            "outside": 0,
            "misread": 0,
            "misjudged": [],
            "model": "tiny-qwen2-1.8m",
            "n": 32,
            "fixed_by_self": 346,
            "broken_by_self": 6,
            "wrong_sums_before": 1.0,
            "wrong_sums_after": 0.0,
        },
        "false": [
            {"broken_by_oracle": 1},
            {"shown_steps": 2},
            {"outside": 1},
            {"misread": 1},
            {"misjudged": ["12 * 12 = 124"]},
            {"fixed_by_self": 6, "broken_by_self": 6},
            {"wrong_sums_after": 1.0},
        ],
    },
    "19_your_model": {
        "true": {
            "model": "",
            "n": 2,
            "head_right": True,
            "checksums": [1.5, -2.0],
            "checksums_after": [1.5, -2.0],
            "refusals": {"recurrent": "keeps a state", "another head": "not the model's own logits"},
            "by_hand": {"1 + 1 = 2": 0.0, "two": -1.0},
            "given": [0.0, -1.0],
            "worst_gap": 0.0,
            "least_flip": 0.02,
            "before_break": ["a"],
            "after_break": ["a", "b"],
            "third_call": ["a", "b"],
            "rewards_by_file": [[-1.0, 0.0]],
            "rewards_by_hand": [[-1.0, 0.0]],
            "read_tokens": [74, 60],
            "prompt_tokens": [74, 60],
            "same_as_alone": 8,
            "answered": 8,
        },
        "false": [
            {"head_right": False},
            {"checksums_after": [1.5, -2.1]},
            {"refusals": {"recurrent": "", "another head": "not the model's own logits"}},
            {"refusals": {"recurrent": "keeps a state", "another head": "no such file"}},
            {"given": [0.0, 0.0]},
            {"worst_gap": 0.1},
            {"after_break": ["c", "b"], "third_call": ["c", "b"]},
            {"after_break": ["a"], "third_call": ["a"]},
            {"third_call": ["a", "b", "b"]},
            {"rewards_by_file": [[-1.0, -1.0]]},
            {"read_tokens": [71, 57]},
            {"same_as_alone": 7},
        ],
    },
    "20_embedded_models": {
        "true": {
            "refused_right": [],
            "own_mistake_only": [True, True],
            "strange_weights": set(),
            "card_gaps": {"tiny-qwen2-1.8m": 0.001, "tiny-llama-1.8m": 0.0},
            "least_lever": 0.2,
            "counted": 1500,
            "n_judged": 1500,
            "early_lead": [-0.7, -0.6],
            "best_is_better": {"tiny-qwen2-1.8m": 0.8, "tiny-llama-1.8m": 0.7},
            "fewest": 5,
            "right_now": 13,
            "most": 21,
        },
        "false": [
            {"refused_right": ["calculation_check"]},
            {"own_mistake_only": [True, False]},
            {"own_mistake_only": [False, True]},
            {"strange_weights": {"f9ee4cba0036"}},
            {"card_gaps": {"tiny-qwen2-1.8m": 0.001, "tiny-llama-1.8m": 0.05}},
            {"least_lever": -0.01},
            {"counted": 1499},
            {"counted": 3000},
            {"early_lead": [-0.7, 0.1]},
            {"best_is_better": {"tiny-qwen2-1.8m": 0.8, "tiny-llama-1.8m": -0.1}},
            {"right_now": 4},
            {"right_now": 22},
        ],
    },
    "05_trained_baselines": {
        "true": {
            "model": "tiny-qwen2-1.8m",
            "moved": 0,
            "worst_average": 0.05,
            "self_trained": ["SPIN", "CoH", "Self-Rewarding", "ScPO", "Genius"],
            "genius_off": 0.04,
            "below_best": [-0.03, 0.0, -0.03, 0.0],
            "nowhere": ["Self-Consistency, math"],
            "own_maths": [-0.3, 0.5, 1.8, 4.1],
            "read_maths": [-17.4, -16.6, -13.0],
            "sft_below": 5,
            "factors": {"Llama-3.1-8B": 3.0},
            "live_sets": [frozenset({"test-1"}), frozenset({"test-1"})],
            "other_starts": 0,
            "least_shots": 400,
            "least_gain": 30.9,
        },
        "false": [
            {"moved": 1},
            {"worst_average": 0.3},
            {"self_trained": ["SPIN", "CoH", "Self-Rewarding", "Genius"]},
            {"genius_off": 1.2},
            {"below_best": [-0.03, 18.9, -0.03, 0.0]},
            {"nowhere": []},
            {"nowhere": ["CoT, math", "Self-Consistency, math"]},
            {"own_maths": [-17.4, 0.5]},
            {"own_maths": [-0.3, 14.6]},
            {"read_maths": [-17.4, 0.5]},
            {"sft_below": 4},
            {"factors": {"Llama-3.1-8B": 2.0}},
            {"live_sets": [frozenset({"test-1"}), frozenset({"test-2"})]},
            {"other_starts": 1},
            {"least_shots": 0},
            {"least_gain": -1.0},
        ],
    },
    "16_flops": {
        "true": {
            "model": "tiny-qwen2-1.8m",
            "agreed": ["2.29e+11", "1.05e+09", "6.90e+16", "7.69e+14", "1.94e+05"],
            "printed": ["2.29e+11", "1.05e+09", "6.90e+16", "7.69e+14", "1.94e+05"],
            "layer_gap": 0.022,
            "layers_left_out": [31.96, 32.02],
            "by_counter": 1.516e13,
            "full_pass": 1.516e13,
            "meets": [1.0, 1.0 + 1e-15],
            "corrected_gap": 1e-16,
            "gradient": 0.002,
            "judging": 0.86,
            "counted": 1_076_527_104,
            "expected": 1_076_527_104,
            "real_tokens": 8871,
            "row_tokens": 8871.01,
            "most_unforwarded": -61.0,
            "judged_share": 0.77,
        },
        "false": [
            {"agreed": ["2.29e+11", "1.05e+09", "6.90e+16", "7.69e+14", "1.95e+05"]},
            {"layer_gap": 0.5},
            {"layers_left_out": [31.96, 1.0]},
            {"by_counter": 7.6e12},
            {"meets": [1.0, 1.05]},
            {"corrected_gap": 0.1},
            {"gradient": 0.2},
            {"judging": 0.3},
            {"expected": 1_061_000_000},
            {"real_tokens": 9201},
            {"most_unforwarded": 12.0},
            {"judged_share": 0.1},
        ],
    },
    "15_theory": {
        "true": {
            "best_diamond": 1.0,
            "best_k4": 0.875,
            "split_values": [1.0, 0.875],
            "teams_unlike": 0,
            "same_values": [1.0, 0.875],
            "loose_values": [1.0, 1.0],
            "checked_diamond": 1.0,
            "checked_k4": 0.96875,
            "fair_k4": 0.328125,
            "largest_fall": 1e-17,
            "highest_k4": 0.875,
            "reward_lost": 0.0,
            "tv_half": 0.4144,
            "kl_half": 1.0,
            "kl_gap": 1e-16,
            "chance_right": 0.07407407407407407,
            "search_k4": -1 / 6,
            "best_reward_k4": -1 / 6,
            "astray": 0,
            "usual_search": True,
            "found_first": 0.055,
            "found_last": 0.46,
            "exact": True,
            "wrongly_read": 0,
            "least_excess": 3.5,
            "effect_expected": True,
            "nearest_bits": 0.74,
        },
        "false": [
            {"best_diamond": 0.875},
            {"best_k4": 0.9375},
            {"split_values": [1.0, 0.9375]},
            {"teams_unlike": 3},
            {"same_values": [1.0, 1.0]},
            {"loose_values": [1.0, 0.875]},
            {"checked_diamond": 0.96875},
            {"checked_k4": 1.0},
            {"fair_k4": 0.375},
            {"largest_fall": 0.01},
            {"highest_k4": 0.9},
            {"reward_lost": 0.5},
            {"tv_half": 0.5},
            {"kl_half": 0.5},
            {"kl_gap": 0.1},
            {"chance_right": 1.0},
            {"search_k4": 0.0},
            {"astray": 1},
            {"found_first": 0.46},
            {"found_last": 1.0},
            {"wrongly_read": 1},
            {"least_excess": -0.1},
            {"nearest_bits": 0.0},
        ],
    },
}


def point_of(path: Path) -> str | None:
    """The source of the notebook's cell tagged `point`; None if it has none."""
    cells = nbformat.read(path, as_version=4).cells
    return next((cell.source for cell in cells if "point" in cell.metadata.get("tags", [])), None)


POINTS = {path.stem: source for path in NOTEBOOKS if (source := point_of(path))}


def assertions(source: str) -> list[ast.Assert]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]


def failing(source: str, values: dict) -> int | None:
    """Runs a `point` cell on values alone; the line where the assertion that failed begins, None if all hold."""
    try:
        exec(compile(source, "point", "exec"), dict(values))
    except AssertionError as error:
        line = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "point"][-1]
        return next(node.lineno for node in assertions(source) if node.lineno <= line <= node.end_lineno)
    return None


def test_every_point_has_its_entry():
    assert set(DOCTORED) == set(POINTS)


@pytest.mark.parametrize("name", DOCTORED)
def test_the_point_holds_on_true_values(name):
    assert failing(POINTS[name], DOCTORED[name]["true"]) is None


@pytest.mark.parametrize(("name", "changes"), [(name, c) for name, entry in DOCTORED.items() for c in entry["false"]], ids=str)
def test_the_point_fails_on_false_values(name, changes):
    assert set(changes) <= set(DOCTORED[name]["true"])
    assert failing(POINTS[name], DOCTORED[name]["true"] | changes)


@pytest.mark.parametrize("name", DOCTORED)
def test_every_assertion_has_been_seen_to_fail(name):
    true, false = DOCTORED[name]["true"], DOCTORED[name]["false"]
    lines = {node.lineno for node in assertions(POINTS[name])}
    assert len(false) >= len(lines) > 0
    assert {failing(POINTS[name], true | changes) for changes in false} == lines
