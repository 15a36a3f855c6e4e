"""Ways to answer a problem, with one signature and one registry.

A method takes `(policy, problems, reward, config, options)` and yields lists of `Outcome`, one for each problem in all: those that
became known together, as soon as they are known. What an outcome cost is counted the same way for all: tokens of the prompts put
to the model, tokens decoded for answers, tokens decoded to judge them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .answers import canonical, extract_answer
from .policy import BATCH_SIZE, Completion, Policy
from .problems import Problem
from .prompts import load_prompt, prompt_style, render_prompt
from .rewards import Reward, Score, scores_of
from .seek import SeekResult, iterate_results
from .settings import SeekConfig


@dataclass(frozen=True)
class Options:
    """What methods need beside the search settings.

    Attributes:
        prompt: the solver prompt.
        temperature: of sampled answers; greedy ones don't ask.
        batch_size: problems answered together.
        n_samples: N, the answers that `best_of_n` and `self_consistency` draw.
        shots: solved problems that `few_shot` shows before the question.
        token_pool: answer tokens that the problems of a batch together may cost; only `resample` asks.
    """

    prompt: str | Path = "boxed"
    temperature: float = 1.0
    batch_size: int = BATCH_SIZE
    n_samples: int = 3
    shots: tuple[Problem, ...] = ()
    token_pool: int | None = None


@dataclass(frozen=True)
class Outcome:
    """The answer of one method to one problem, and what it took.

    `steps` has a row for each answer looked at: its text and tokens, and where there is one its reward, with checks and what they
    cost. `n_iterations` is the number of answers after the first.
    """

    problem_id: str
    answer_text: str
    n_iterations: int
    prompt_tokens: int
    answer_tokens: int
    verifier_tokens: int
    steps: list[dict] = field(default_factory=list)


Method = Callable[[Policy, Sequence[Problem], Reward | None, SeekConfig, Options], Iterator[list[Outcome]]]


def prompt_ids(policy: Policy, problem: Problem, options: Options) -> list[int]:
    """The tokens that put a problem to the model, worked examples included."""
    messages = render_prompt(problem, style=options.prompt, shots=options.shots, folder=policy.folder)
    return policy.encode(messages)


def _batches(problems: Sequence[Problem], size: int) -> Iterator[Sequence[Problem]]:
    return (problems[start : start + size] for start in range(0, len(problems), size))


class _Attempts:
    """One problem, and the answers to it that were looked at so far."""

    def __init__(self, policy: Policy, problem: Problem, options: Options):
        self.policy, self.problem, self.prompt = policy, problem, prompt_ids(policy, problem, options)
        self.prompt_tokens, self.rows = len(self.prompt), []

    def add(self, completion: Completion, **more) -> None:
        text = self.policy.decode_text(completion.token_ids)
        row = {"iteration": len(self.rows), "answer_text": text, "decoded_tokens": completion.decoded, "verifier_tokens": 0}
        self.rows.append(row | more)

    def judge(self, score: Score, place: int = -1) -> None:
        """Notes a reward beside one of the answers, the last unless another is meant."""
        self.rows[place] |= {"reward": score.value, "checks": score.checks, "verifier_tokens": score.tokens}

    def passed(self, config: SeekConfig) -> bool:
        return self.rows[-1]["reward"] > config.reward_threshold

    def outcome(self, chosen: int = -1) -> Outcome:
        """The problem's outcome with one of the answers, the last unless another was chosen."""
        spent = [sum(row[kind] for row in self.rows) for kind in ("decoded_tokens", "verifier_tokens")]
        text = self.rows[chosen]["answer_text"]
        return Outcome(self.problem.id, text, len(self.rows) - 1, self.prompt_tokens, *spent, self.rows)


def few_shot(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """One greedy answer after `options.shots`, solved problems shown as earlier turns of the conversation."""
    for batch in _batches(problems, options.batch_size):
        attempts = [_Attempts(policy, problem, options) for problem in batch]
        completions = policy.generate([a.prompt for a in attempts], max_new_tokens=config.max_new_tokens)
        for attempt, completion in zip(attempts, completions, strict=True):
            attempt.add(completion)
        yield [attempt.outcome() for attempt in attempts]


def cot(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """Chain of thought: one greedy answer (eq. 9)."""
    return few_shot(policy, problems, reward, config, replace(options, shots=()))


def _sampled(policy: Policy, problems: Sequence[Problem], config: SeekConfig, options: Options) -> list[_Attempts]:
    """N samples for each problem, the prompt read once."""
    attempts = [_Attempts(policy, problem, options) for problem in problems]
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
    for batch in _batches(problems, options.batch_size):
        attempts = _sampled(policy, batch, config, options)
        yield [a.outcome(_majority([_vote(a.problem, row["answer_text"], style) for row in a.rows])) for a in attempts]


def _vote(problem: Problem, answer: str, style: str) -> str | None:
    stated = extract_answer(answer, style=style, benchmark=problem.benchmark, strict=False)
    return None if stated is None else canonical(stated, problem.benchmark)


def _majority(votes: Sequence[str | None]) -> int:
    """The place of the first vote for the most frequent value; Counter keeps equal counts in the order drawn."""
    counts = Counter(vote for vote in votes if vote is not None)
    return votes.index(counts.most_common(1)[0][0]) if counts else 0


def best_of_n(
    policy: Policy, problems: Sequence[Problem], reward: Reward | None, config: SeekConfig, options: Options
) -> Iterator[list[Outcome]]:
    """The best-rewarded of N samples (eq. 10); of equally rewarded ones the one drawn first.

    All N are sampled at `options.temperature`; the paper doesn't say at which.
    """
    for batch in _batches(problems, options.batch_size):
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
    for batch in _batches(problems, options.batch_size):
        attempts = [_Attempts(policy, problem, options) for problem in batch]
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
    batches = [problems] if options.token_pool is not None else _batches(problems, options.batch_size)
    for batch in batches:
        running = [_Attempts(policy, problem, options) for problem in batch]
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
    method.__name__: method for method in (cot, few_shot, self_consistency, self_reflection, best_of_n, resample, latentseek)
}
# Those that ask a reward.
REWARDED = {"best_of_n", "resample", "latentseek"}
