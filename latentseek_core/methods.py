"""Ways to answer a problem, with one signature and one registry.

A method takes `(policy, problems, reward, config, options)` and yields lists of `Outcome`, one for each problem in all: those that
became known together, as soon as they are known. What an outcome cost is counted the same way for all: tokens of the prompts put
to the model, tokens decoded for answers, tokens decoded to judge them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .attempts import Attempts, Method, Options, Outcome, batches
from .policy import Completion, Policy
from .problems import Problem
from .prompts import load_prompt, prompt_style, render_prompt
from .rewards import Reward, scores_of
from .rivals import ltpo, slot, soft_thinking
from .seek import SeekResult, iterate_results
from .settings import SeekConfig
from .signals import majority, vote


def few_shot(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """One greedy answer after `options.shots`, solved problems shown as earlier turns of the conversation."""
    for batch in batches(problems, options.batch_size):
        attempts = [Attempts(policy, problem, options) for problem in batch]
        completions = policy.generate([a.prompt for a in attempts], max_new_tokens=config.max_new_tokens)
        for attempt, completion in zip(attempts, completions, strict=True):
            attempt.add(completion)
        yield [attempt.outcome() for attempt in attempts]


def cot(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """Chain of thought: one greedy answer (eq. 9)."""
    return few_shot(policy, problems, reward, config, replace(options, shots=()))


def _sampled(policy: Policy, problems: Sequence[Problem], config: SeekConfig, options: Options) -> list[Attempts]:
    """N samples for each problem, the prompt read once."""
    attempts = [Attempts(policy, problem, options) for problem in problems]
    opened = policy.generate([a.prompt for a in attempts], max_new_tokens=0, remember=0)
    completions = policy.generate(
        [a.prompt for a in attempts for _ in range(options.n_samples)],
        max_new_tokens=config.max_new_tokens,
        temperature=options.temperature,
        seed=config.seed,
        after=[o.memory for o in opened for _ in range(options.n_samples)],
    )
    for i, completion in enumerate(completions):
        attempts[i // options.n_samples].add(completion)
    return attempts


def self_consistency(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """The answer that most of N samples state (Wang et al. 2023); of equally frequent ones the one drawn first.

    Samples vote by the value of the answer that they state in whatever format; one that states none has no vote.
    """
    style = prompt_style(options.prompt, policy.folder)
    for batch in batches(problems, options.batch_size):
        attempts = _sampled(policy, batch, config, options)
        yield [a.outcome(majority([vote(a.problem, row["answer_text"], style) for row in a.rows])) for a in attempts]


def best_of_n(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """The best-rewarded of N samples (eq. 10); of equally rewarded ones the one drawn first.

    All N are sampled at `options.temperature`; the paper doesn't say at which.
    """
    for batch in batches(problems, options.batch_size):
        attempts = _sampled(policy, batch, config, options)
        asked = [(a, i) for a in attempts for i in range(options.n_samples)]
        scores = scores_of(reward, [a.problem for a, _ in asked], [a.rows[i]["answer_text"] for a, i in asked])
        for (a, i), score in zip(asked, scores, strict=True):
            a.judge(score, i)
        # max takes the first of equals.
        yield [a.outcome(max(range(len(a.rows)), key=lambda i, rows=a.rows: rows[i]["reward"])) for a in attempts]


def self_reflection(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """Answer, criticise the answer, answer again: one pass, in one conversation, greedy throughout (a row of v3's Table 1).

    The critique counts as verifier tokens; all that the model has before it at each of the three turns counts as prompt tokens.
    """
    asks = load_prompt("reflection", policy.folder)
    for batch in batches(problems, options.batch_size):
        attempts = [Attempts(policy, problem, options) for problem in batch]
        talks = [render_prompt(problem, style=options.prompt, folder=policy.folder) for problem in batch]
        first = _turn(policy, talks, config)
        critiques = _turn(policy, talks, config, asks["critique"], first)
        second = _turn(policy, talks, config, asks["revision"], critiques)
        for attempt, (_, answer), (more, critique), (most, again) in zip(attempts, first, critiques, second, strict=True):
            attempt.add(answer)
            attempt.add(again, critique=policy.decode_text(critique.token_ids), verifier_tokens=critique.decoded)
            attempt.prompt_tokens += more + most
        yield [attempt.outcome() for attempt in attempts]


def _turn(policy, talks, config, ask: str = "", before: Sequence[tuple[int, Completion]] = ()) -> list[tuple[int, Completion]]:
    """The model's next turn in each conversation, put at its end, with the number of tokens that the model had before it."""
    for talk in talks:
        talk += [{"role": "user", "content": ask}] if ask else []
    prompts = [policy.encode(talk) for talk in talks]
    kept = {"after": [c.memory for _, c in before] or None, "remember": config.max_new_tokens}
    completions = policy.generate(prompts, max_new_tokens=config.max_new_tokens, **kept)
    for talk, completion in zip(talks, completions, strict=True):
        talk.append({"role": "assistant", "content": policy.decode_text(completion.token_ids)})
    return [(len(prompt), completion) for prompt, completion in zip(prompts, completions, strict=True)]


def resample(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """The token-space twin of a stopping rule: a greedy answer, then fresh samples until the reward passes τ.

    It shares judge and stop with LatentSeek and nothing else, so what it reaches is due to the judge alone. Problems that are not
    yet done get one more sample each, round after round: K rounds, or, with a token pool, until the pool is spent (its last
    round goes to the first problems only). The last answer is returned, as there.
    """
    for batch in [problems] if options.token_pool is not None else batches(problems, options.batch_size):
        running = [Attempts(policy, problem, options) for problem in batch]
        attempt, spent, last_round = 0, 0, False
        while running:
            drawn = {"temperature": options.temperature if attempt else 0.0, "seed": config.seed * 1_000_003 + attempt}
            completions = policy.generate([r.prompt for r in running], max_new_tokens=config.max_new_tokens, **drawn)
            scores = scores_of(reward, [r.problem for r in running], [policy.decode_text(c.token_ids) for c in completions])
            for r, completion, score in zip(running, completions, scores, strict=True):
                r.add(completion)
                r.judge(score)
                spent += completion.decoded
            attempt += 1
            yield [r.outcome() for r in running if r.passed(config)]
            running = [r for r in running if not r.passed(config)]
            rounds_left = attempt <= config.max_iterations
            more = 0 if last_round else _affordable(options.token_pool, spent, len(running), completions, rounds_left)
            last_round = more < len(running)
            yield [r.outcome() for r in running[more:]]
            running = running[:more]


def _affordable(pool: int | None, spent: int, wanted: int, completions: Sequence[Completion], rounds_left: bool) -> int:
    """How many of the problems still running get another sample."""
    if pool is None:
        return wanted if rounds_left else 0
    mean = sum(c.decoded for c in completions) / len(completions)
    return min(wanted, max(0, int((pool - spent) / mean)))


def latentseek(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """The search of `seek.py` (Algorithm 1)."""
    for finished in iterate_results(policy, problems, reward, config, prompt=options.prompt, batch_size=options.batch_size):
        yield [_outcome(result) for _, result in finished]


SHOWN = "iteration answer_text decoded_tokens verifier_tokens reward checks changed loss latent_norm".split()


def _outcome(result: SeekResult) -> Outcome:
    spent = [sum(getattr(step, kind) for step in result.steps) for kind in ("decoded_tokens", "verifier_tokens")]
    rows = [{name: getattr(step, name) for name in SHOWN} for step in result.steps]
    return Outcome(result.problem_id, result.answer_text, result.n_iterations, result.prompt_tokens, *spent, rows)


METHODS: dict[str, Method] = {
    method.__name__: method
    for method in (cot, few_shot, self_consistency, self_reflection, best_of_n, resample, latentseek, slot, ltpo, soft_thinking)
}
# Those that ask a reward.
REWARDED = {"best_of_n", "resample", "latentseek"}
