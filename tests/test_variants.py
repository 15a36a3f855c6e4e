"""Variants of the search: each differs from the plain one in its part alone, and what is random depends on the problem alone."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from conftest import LengthReward, make_policy, mostly_slow, random_problems, random_prompts

from latentseek_core import Problem, Score, SeekConfig, seek, seek_steps
from latentseek_core.analyses.replay import replay_html
from latentseek_core.optimisers import Group, Kl, Ppo, Sampled
from latentseek_core.settings import CLEAN, VARIANTS, variant_class
from latentseek_core.variants import draw_tokens

NAMES = [name for name in VARIANTS if name]
PROBLEM = Problem("1", "question", "1", "tiny-gsm")
BASE = {"rho": 0.4, "learning_rate": 0.2, "max_iterations": 3, "max_new_tokens": 24, "reward_threshold": -0.35}


def config(variant="", **settings):
    return SeekConfig(**BASE | settings, variant=variant)


def always(value):
    return lambda problems, answers: [value] * len(answers)


def steps_of(variant="", reward=None, prompt=0, problem=PROBLEM, **settings):
    prompt = random_prompts(prompt + 1)[prompt]
    return list(seek_steps(make_policy(), problem, reward or always(-1.0), config(variant, **settings), prompt_ids=prompt))


def openings(steps):
    return [(step.prefix_ids, step.answer_ids) for step in steps]


def moves(steps):
    return [after.latents - before.latents for before, after in itertools.pairwise(steps)]


# --- what holds for all ---


@pytest.mark.parametrize("variant", mostly_slow([n for n in NAMES if n != "shuffled"], "constant_stop", "random", "token_twin"))
def test_a_batch_gives_what_single_calls_give(variant):
    policy, prompts, problems = make_policy(), random_prompts(5, seed=4), random_problems(5)
    how = {"prompt_ids": prompts, "progress": False}
    together = seek(policy, problems, LengthReward(), config(variant), **how)
    for problem, prompt, result in zip(problems, prompts, together, strict=True):
        (alone,) = seek(policy, [problem], LengthReward(), config(variant), prompt_ids=[prompt], progress=False)
        assert openings(alone.steps) == openings(result.steps)
        assert [s.decoded_tokens for s in alone.steps] == [s.decoded_tokens for s in result.steps]
        assert (alone.stopped, alone.answer_ids) == (result.stopped, result.answer_ids)


@pytest.mark.parametrize("setting", mostly_slow([SeekConfig, SeekConfig.reference], SeekConfig))
@pytest.mark.parametrize("variant", mostly_slow(NAMES, "constant_stop", "random", "token_twin", "group"))
def test_the_first_step_is_the_chain_of_thought_and_no_token_is_lost_from_the_count(variant, setting, monkeypatch):
    monkeypatch.setattr(type(SeekConfig.reference().rules), "chain_of_thought_limit", 30)
    policy, prompts, problems, spent = make_policy(), random_prompts(4), random_problems(4), []
    settings = setting(**BASE, variant=variant)
    cots = settings.rules.first_answers(policy, prompts, setting(**BASE))
    generate = policy.generate

    def counted(*args, **how):
        completions = generate(*args, **how)
        spent.append(sum(c.decoded for c in completions))
        return completions

    with monkeypatch.context() as patch:
        patch.setattr(policy, "generate", counted)
        judged = lambda ps, answers: [Score(value, tokens=3) for value in LengthReward()(ps, answers)]  # noqa: E731
        results = seek(policy, problems, judged, settings, prompt_ids=prompts, progress=False)
    assert sum(step.decoded_tokens for result in results for step in result.steps) == sum(spent)
    if variant != "joint":
        assert [result.steps[0].answer_ids for result in results] == [cot.token_ids for cot in cots]
    if variant == "zero":
        assert [result.answer_ids for result in results] == [cot.token_ids for cot in cots]
        assert all(len(result.steps) == 1 for result in results)


@pytest.mark.parametrize(
    "variant", mostly_slow(["kick", "random", "token_twin", "sampled", "joint", "drawn", "drawn_rest"], "random", "token_twin")
)
def test_chance_depends_on_the_seed_and_on_the_problem(variant):
    def run(**how):
        problem = Problem(how.pop("id", "1"), "question", "1", "tiny-gsm")
        reward = LengthReward() if variant in ("sampled", "joint") else always(-1.0)
        steps = steps_of(variant, reward, problem=problem, rho=0.8, temperature=3.0, **how)
        return [step.answer_ids for step in steps], steps[-1].latents

    (same, z), (again, z_again) = run(), run()
    assert same == again
    assert torch.equal(z, z_again)
    for other in ({"seed": 1}, {"id": "2"}):
        answers, latents = run(**other)
        assert answers != same or latents.shape != z.shape or not torch.equal(latents, z)


# --- controls ---


@pytest.mark.parametrize("optimizer", ["adam", "ascent"])
def test_random_goes_as_far_as_the_gradient_and_elsewhere(optimizer):
    (ours,), (theirs,) = (moves(steps_of(name, max_iterations=1, optimizer=optimizer)) for name in ("random", ""))
    torch.testing.assert_close(ours.norm(dim=-1), theirs.norm(dim=-1), rtol=1e-4, atol=1e-6)
    assert torch.nn.functional.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0).abs() < 0.3
    assert steps_of("random", always(0.0), max_iterations=3)[-1].iteration == 0, "the reward still stops it"


def test_kick_is_one_gaussian_kick_whatever_the_reward():
    kicked = [steps_of("kick", always(reward), learning_rate=rate, rho=1.0) for reward, rate in ((-1.0, 0.2), (0.0, 5.0))]
    assert [len(steps) for steps in kicked] == [2, 2]
    (one,), (other,) = map(moves, kicked)
    torch.testing.assert_close(one, other)
    assert one.numel() > 500
    assert one.mean().item() == pytest.approx(0.0, abs=4 * math.sqrt(0.5 / one.numel()))
    assert one.var().item() == pytest.approx(0.5, rel=4 * math.sqrt(2 / one.numel()))


def test_constant_never_stops_and_follows_minus_one():
    steps = steps_of("constant", always(0.5), max_iterations=4)
    assert [step.reward for step in steps] == [0.5] * 5
    assert openings(steps) == openings(steps_of("", always(-1.0), max_iterations=4))


class Oracle:
    """0 for some texts, else a reward below it."""

    def __init__(self, refused=-1.0):
        self.refused = refused

    def __call__(self, problems, answers):
        return [0.0 if sum(map(ord, answer)) % 5 == 0 else self.refused for answer in answers]


@pytest.mark.parametrize("how", mostly_slow([{}, {"optimizer": "ascent"}, {"grad_clip": 0.5}], {}))
def test_with_an_oracle_constant_stop_is_the_plain_search(how):
    """Wherever PSRM lets a search go on it is −1, so there is nothing that the optimiser could do differently."""
    for prompt in range(6):
        ours, plain = (steps_of(name, Oracle(), prompt, max_iterations=5, **how) for name in ("constant_stop", ""))
        assert openings(ours) == openings(plain)
        assert all(torch.equal(a.latents, b.latents) for a, b in zip(ours, plain, strict=True))


@pytest.mark.parametrize(("reward", "how", "same"), [
    (always(-0.5), {}, True),                         # Adam divides a constant factor out …
    (always(-0.5), {"optimizer": "ascent"}, False),   # … a plain step keeps it …
    (always(-0.5), {"grad_clip": 2.0}, False),        # … clipping cuts −1 where it leaves −0.5 alone …
    (LengthReward(), {}, False),                      # … and rewards that change weigh the steps within Adam's means.
])  # fmt: skip
def test_where_constant_stop_is_the_plain_search_under_other_rewards(reward, how, same):
    how = {"max_iterations": 4, "reward_threshold": -0.2, "rho": 0.8} | how
    pairs = [(steps_of("constant_stop", reward, i, **how), steps_of("", reward, i, **how)) for i in range(4)]
    gaps = [(a[-1].latents - b[-1].latents).abs().max().item() if len(a) == len(b) else 1.0 for a, b in pairs]
    assert (max(gaps) < 1e-3) is same
    if same:
        assert all(openings(a) == openings(b) for a, b in pairs)


def test_middle_keeps_what_comes_first_and_searches_as_many():
    steps, plain = steps_of("middle"), steps_of()
    length = len(steps[0].answer_ids)
    first, n = int(0.4 * length), int(0.4 * length)
    assert {step.latents.shape[0] for step in steps} == {n}
    assert steps[0].prefix_ids == steps[0].answer_ids[: first + n]
    assert all(step.answer_ids[:first] == steps[0].answer_ids[:first] for step in steps)
    assert {t for step in steps for t in step.changed} <= set(range(first, first + n))
    assert any(step.changed for step in steps)
    policy, prompt = make_policy(), random_prompts(1)[0]
    (cot,) = policy.generate([prompt], max_new_tokens=24, keep_latents=True)
    torch.testing.assert_close(steps[0].latents, cot.latents[first : first + n])
    assert openings(steps_of("middle", middle_from=0.0)) == openings(plain)
    assert config("middle", rho=1.0).n_latents(20) == 12, "no further than the answer"
    assert replay_html(policy, PROBLEM, steps, config=config("middle"))


def test_shuffled_follows_the_next_ones_reward_and_stops_by_its_own():
    own = {"0": -0.4, "1": -0.9, "2": 0.0}
    reward = lambda problems, answers: [own[p.id] for p in problems]  # noqa: E731
    prompts, problems, how = random_prompts(3), random_problems(3), {"optimizer": "ascent", "max_iterations": 1}
    ours, plain = (
        seek(make_policy(), problems, reward, config(name, **how), prompt_ids=prompts, progress=False)
        for name in ("shuffled", "")
    )
    assert [result.n_iterations for result in ours] == [1, 1, 0]
    assert ours[0].steps[1].loss == pytest.approx(plain[0].steps[1].loss * 0.9 / 0.4)
    assert ours[1].steps[1].loss == pytest.approx(plain[1].steps[1].loss * 0.4 / 0.9), "2 is no longer searched"


def test_best_returns_the_best_rewarded_the_earliest_of_equals():
    def search(variant):
        rewards, how = iter([-0.9, -0.5, -0.5, -0.8]), {"prompt_ids": random_prompts(1), "progress": False}
        return seek(make_policy(), [PROBLEM], lambda problems, answers: [next(rewards)], config(variant), **how)[0]

    best, plain = search("best"), search("")
    assert openings(best.steps) == openings(plain.steps)
    assert (best.answer_ids, plain.answer_ids) == (plain.steps[1].answer_ids, plain.steps[3].answer_ids)


def test_the_token_twin_changes_as_many_tokens_as_the_gradient_and_takes_them_from_the_model():
    for prompt in range(4):
        ours, plain = (steps_of(name, prompt=prompt, rho=0.8, max_iterations=6) for name in ("token_twin", ""))
        ends = [min(len(a.prefix_ids), len(b.prefix_ids)) for a, b in zip(ours, plain, strict=True)]
        if min(ends) < len(plain[0].prefix_ids):
            continue  # an end within the opening, and the gradients are no longer those of one objective
        assert [step.changed for step in ours] == [step.changed for step in plain]
        torch.testing.assert_close(ours[-1].latents, plain[-1].latents)
        for before, after in itertools.pairwise(ours):
            changed = {t for t, (a, b) in enumerate(zip(before.prefix_ids, after.prefix_ids, strict=True)) if a != b}
            assert changed == set(after.changed)


# --- optimisers, on a toy: three words, two latents ---


class Toy:
    """A policy of three words; the third ends an answer."""

    device, stop_ids = torch.device("cpu"), frozenset([2])

    def __init__(self):
        self.weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def head(self, latents, bare=False):
        return latents @ self.weight.T


def toy_search(kind, **settings):
    policy, z = Toy(), torch.randn(2, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    search = SimpleNamespace(policy=policy, latents=z.requires_grad_(), rules=CLEAN, config=config(**settings), fixed=[])
    search.steps = [SimpleNamespace(reward=-0.7)]
    search.tokens, search.n_latents = policy.head(z).argmax(-1).tolist(), 2
    search.opening = lambda tokens: CLEAN.prefix(policy, tokens)
    search.seed = lambda purpose: 7
    search.variant = kind(search)
    return search


PAIRS = list(itertools.product(range(3), repeat=2))
REWARD = {(0, 0): -1.0, (0, 1): 0.3, (0, 2): -0.2, (1, 0): 0.9, (1, 1): -0.4, (1, 2): 0.1, (2,): 0.5}


def of(pair):
    """What is rewarded is the opening up to its end."""
    return REWARD[tuple(CLEAN.prefix(Toy(), list(pair)))]


def gradient(value, search):
    return torch.autograd.grad(value, search.latents)[0]


def probability(search, pair):
    logs = search.policy.head(search.latents).log_softmax(-1)
    return (logs[0, pair[0]] + logs[1, pair[1]]).exp()


def set_samples(search, pairs):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentseek_core.optimisers.draw_tokens", lambda *_: torch.tensor(pairs))
        found = search.variant.draw()
    search.variant.rewards = [REWARD[tuple(opening)] for opening in found]


def expected_gradient(kind, count, **settings):
    """Σ over all that can be drawn, weighed by its probability, of the gradient that it gives."""
    search, total = toy_search(kind, n_samples=max(2, count), **settings), 0.0
    for pairs in itertools.product(PAIRS, repeat=count):
        set_samples(search, pairs)
        weight = math.prod(probability(search, pair).item() for pair in pairs)
        total = total + weight * gradient(search.variant.objective(), search)
    return total


@pytest.mark.parametrize("count", [2, 3])
def test_samples_give_the_policy_gradient_without_bias(count):
    """∇ E[R] by enumeration of the nine openings; an end after the first word makes the second one nobody's."""
    search = toy_search(Sampled)
    exact = gradient(sum(probability(search, pair) * of(pair) for pair in PAIRS), search)
    assert exact.norm() > 0.01
    torch.testing.assert_close(expected_gradient(Sampled, count), exact)
    torch.testing.assert_close(expected_gradient(Ppo, count), exact)


def test_a_group_of_two_climbs_the_chance_to_beat_another_sample():
    """With two samples (r − mean) / std is ±1, so that the expectation is ∇ of half of Σ π(x) sign(R(x) − R(x')) over x' ~ π."""
    search = toy_search(Group)
    others = [(pair, probability(search, pair).item()) for pair in PAIRS]
    beats = {x: sum(p * ((of(x) > of(y)) - (of(x) < of(y))) for y, p in others) for x in PAIRS}
    exact = gradient(sum(probability(search, pair) * beats[pair] for pair in PAIRS), search)
    torch.testing.assert_close(expected_gradient(Group, 2), exact, rtol=1e-4, atol=1e-6)


def test_ppo_stops_at_the_clip():
    search = toy_search(Ppo, clip=0.2)
    set_samples(search, [(0, 1), (1, 0), (0, 0)])
    advantages = search.variant.advantages()
    assert (advantages > 0).tolist() == [True, True, False]
    search.variant.before = search.variant.before - torch.tensor([[0.5, 0.1], [-0.5, 0.0], [-0.5, 0.5]])
    ratio = torch.tensor([[0.5, 0.1], [-0.5, 0.0], [-0.5, 0.5]]).double().exp()
    # What is gained already, or lost already, by more than ε has no gradient left.
    active = torch.tensor([[0, 1], [1, 1], [0, 1]]).double()
    surrogate = (ratio.detach() * advantages[:, None] * active * search.variant.log_probabilities()).sum() / 3
    torch.testing.assert_close(gradient(search.variant.objective(), search), gradient(surrogate, search))


def test_kl_is_that_of_the_nine_openings():
    search = toy_search(Kl, kl_weight=2.0)
    origin = search.latents.detach().clone()
    with torch.no_grad():
        search.latents += 0.3 * torch.randn(2, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    logs = search.policy.head(origin).log_softmax(-1)
    divergence = sum(probability(search, x) * (probability(search, x).log() - logs[0, x[0]] - logs[1, x[1]]) for x in PAIRS)
    reward = -0.7 * CLEAN.log_probability(search.policy, search.latents, search.opening(search.tokens))
    exact = gradient(reward - 2.0 * divergence, search)
    torch.testing.assert_close(gradient(search.variant.objective(), search), exact)


def test_tokens_are_drawn_as_often_as_they_are_likely():
    chances = torch.tensor([[0.2, 0.5, 0.3], [0.0, 0.1, 0.9], [0.25, 0.25, 0.0]], dtype=torch.float64)
    drawn = draw_tokens(chances.log(), torch.Generator().manual_seed(0), 20_000)
    assert drawn.shape == (20_000, 3)
    for row, expected in zip(drawn.T, chances / chances.sum(-1, keepdim=True), strict=True):
        torch.testing.assert_close(row.bincount(minlength=3) / 20_000, expected.float(), atol=0.015, rtol=0)
    assert 0 not in drawn[:, 1]
    assert 2 not in drawn[:, 2]


# --- optimisers, in the search ---


def test_steps_have_the_length_that_they_say():
    ascent, plain = steps_of("ascent"), steps_of("", optimizer="ascent")
    assert all(torch.equal(a.latents, b.latents) for a, b in zip(ascent, plain, strict=True))
    (first, *_), (same, *_) = moves(steps_of("normalised")), moves(steps_of("normalised", always(-0.4)))
    assert first.square().mean().sqrt().item() == pytest.approx(0.2, rel=1e-4)
    torch.testing.assert_close(first, same)
    (along, *_) = moves(plain)
    assert torch.nn.functional.cosine_similarity(first.flatten(), along.flatten(), dim=0) > 0.9999


@pytest.mark.parametrize("share", [0.01, 0.25, 0.6])
def test_scaled_flips_the_share_that_is_asked_for(share):
    steps = steps_of("scaled", rho=0.8, flip_share=share, max_iterations=4)
    n = steps[0].latents.shape[0]
    assert [len(step.changed) for step in steps[1:]] == [math.ceil(share * n)] * 4


def test_samples_of_equal_reward_move_nothing_and_others_do():
    still = steps_of("sampled", always(-1.0))
    assert torch.equal(still[0].latents, still[-1].latents)
    moved = steps_of("sampled", LengthReward(), rho=1.0, reward_threshold=5)
    assert not torch.equal(moved[0].latents, moved[-1].latents)
    assert steps_of("ppo", LengthReward(), rho=1.0, reward_threshold=5, epochs=1)[1].latents.equal(moved[1].latents)


def test_harvest_goes_on_from_an_accepted_sample():
    taken = []

    def reward(problems, answers):
        if len(answers) == 3:  # the samples
            taken.append(answers[1])
            return [-1.0, 0.0, -0.5]
        return [0.0 if answers[0] in taken else -1.0]

    steps = steps_of("harvest", reward, rho=1.0)
    assert [step.reward for step in steps] == [-1.0, 0.0]
    assert [step.answer_text for step in steps[1:]] == taken


def test_joint_starts_from_the_best_sample_and_keeps_its_tokens():
    seen = []

    def reward(problems, answers):
        seen.extend(answers)
        return [-1.0 if len(seen) == 1 else -0.5 - len(set(answer)) / 1000 for answer in answers]

    steps = steps_of("joint", reward, rho=0.8, temperature=3.0, learning_rate=1e-6)
    policy = make_policy()
    best = max(seen[:4], key=lambda text: -1.0 if text == seen[0] else -0.5 - len(set(text)) / 1000)
    assert steps[0].answer_text == best != seen[0]
    read = policy.head(steps[0].latents).argmax(-1).tolist()
    assert read[: len(steps[0].prefix_ids)] != steps[0].prefix_ids, "some token was no argmax"
    assert steps[-1].prefix_ids == steps[0].prefix_ids, "latents that hardly move change no token"
    assert [s.answer_text for s in steps_of("joint", always(0.0))] == [steps_of()[0].answer_text], "accepted: nothing is sampled"


# --- names ---


def test_variants_of_different_parts_can_be_joined():
    joined = steps_of("middle+random")
    assert joined[0].latents.equal(steps_of("middle")[0].latents)
    (ours, *_), (theirs, *_) = moves(joined), moves(steps_of("middle"))
    torch.testing.assert_close(ours.norm(dim=-1), theirs.norm(dim=-1), rtol=1e-4, atol=1e-6)
    assert not torch.allclose(ours, theirs)


@pytest.mark.parametrize(("name", "said"), [
    ("radnom", "unknown variant 'radnom': use one of zero, kick"),
    ("middle+", "unknown variant ''"),
    ("constant+shuffled", "the variants constant and shuffled replace the same part"),
    ("best+best", "can't be joined in this order"),
    ("sampled+ppo", "can't be joined in this order"),
])  # fmt: skip
def test_wrong_names_are_said(name, said):
    with pytest.raises(ValueError, match=said):
        SeekConfig(variant=name)
    assert issubclass(variant_class("group+ppo"), Ppo)
    assert variant_class("group+ppo").advantages is Group.advantages


@pytest.mark.parametrize(("field", "value"), [
    ("n_samples", 0), ("temperature", 0.0), ("epochs", 0), ("clip", 0.0), ("kl_weight", -1.0), ("flip_share", 0.0),
    ("kick_variance", -0.1), ("middle_from", 1.0),
])  # fmt: skip
def test_bad_settings_are_named(field, value):
    with pytest.raises(ValueError, match=rf"SeekConfig.{field} is .*; it must be "):
        SeekConfig(**{field: value})
    with pytest.raises(ValueError, match="n_samples is 1; it must be at least 2"):
        SeekConfig(variant="sampled", n_samples=1)
