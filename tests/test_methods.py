"""Every method against a plain account of what it should do: who is chosen, what it costs, what is asked."""

import pytest
from conftest import LengthReward, make_policy, random_problems

from latentseek_core import Problem, SeekConfig, extract_answer, render_prompt
from latentseek_core.attempts import Options, prompt_ids
from latentseek_core.methods import METHODS, REWARDED
from latentseek_core.policy import Completion
from latentseek_core.prompts import load_prompt
from latentseek_core.rewards import Score
from latentseek_core.signals import majority

CONFIG = SeekConfig(max_new_tokens=16, max_iterations=2)


def answer(method, problems, reward=None, options=None, policy=None, config=CONFIG):
    policy = policy or make_policy()
    outcomes = [o for group in METHODS[method](policy, problems, reward, config, options or Options()) for o in group]
    return {outcome.problem_id: outcome for outcome in outcomes}


@pytest.mark.parametrize("method", METHODS)
def test_each_problem_has_one_outcome_whose_tokens_are_those_of_its_steps(method):
    problems = random_problems(5)
    options = Options(batch_size=2, shots=(Problem("s", "what?", "1", "tiny-gsm", "one"),))
    outcomes = answer(method, problems, LengthReward() if method in REWARDED else None, options)
    assert set(outcomes) == {problem.id for problem in problems}
    for outcome in outcomes.values():
        assert outcome.answer_tokens == sum(step["decoded_tokens"] for step in outcome.steps) > 0
        assert outcome.verifier_tokens == sum(step["verifier_tokens"] for step in outcome.steps)
        assert outcome.n_iterations == len(outcome.steps) - 1
        assert outcome.answer_text in [step["answer_text"] for step in outcome.steps]
        assert all(("reward" in step) == (method in REWARDED) for step in outcome.steps)


@pytest.mark.slow
def test_the_batch_changes_nothing():
    problems, shots = random_problems(5), (Problem("s", "what?", "1", "tiny-gsm", "one"),)
    for method in METHODS:
        alone, together = (answer(method, problems, LengthReward(), Options(batch_size=n, shots=shots)) for n in (1, 5))
        assert {i: _texts(o) for i, o in alone.items()} == {i: _texts(o) for i, o in together.items()}


def _texts(outcome):
    return outcome.answer_text, outcome.prompt_tokens, [(step["answer_text"], step["decoded_tokens"]) for step in outcome.steps]


def test_best_of_n_takes_the_first_of_the_best_rewarded():
    problems, options = random_problems(4), Options(n_samples=5, temperature=2.0)
    outcomes = answer("best_of_n", problems, lambda ps, answers: [Score(-(len(a) % 3), tokens=7) for a in answers], options)
    tied = 0
    for outcome in outcomes.values():
        rewards = [step["reward"] for step in outcome.steps]
        assert len(rewards) == 5
        assert outcome.answer_text == outcome.steps[rewards.index(max(rewards))]["answer_text"]
        assert outcome.verifier_tokens == 35
        tied += rewards.count(max(rewards)) > 1
    assert tied, "otherwise the rule for ties was not tested"
    assert len({step["answer_text"] for o in outcomes.values() for step in o.steps}) > 4, "samples differ"


def test_best_of_n_reads_a_prompt_once():
    policy, problems = make_policy(), random_problems(3)
    policy.forwarded_tokens = 0
    outcomes = answer("best_of_n", problems, LengthReward(), Options(n_samples=4), policy)
    prompts = [len(prompt_ids(policy, problem, Options())) for problem in problems]
    finished = [step["decoded_tokens"] for o in outcomes.values() for step in o.steps]
    # A sample starts from the state of the prompt's last token, which is read again for each; its own last token is never read.
    assert policy.forwarded_tokens == sum(prompts) + sum(finished)
    assert [outcomes[problem.id].prompt_tokens for problem in problems] == prompts


def test_a_majority_is_counted_by_value_and_ties_go_to_the_first():
    assert majority(["3", "4", "4"]) == 1
    assert majority(["3", "4", "3", "4"]) == 0
    assert majority([None, None, "5", "7"]) == 2
    assert majority([None, None]) == 0


def test_self_consistency_chooses_what_most_samples_state(monkeypatch):
    texts = iter([r"\boxed{7}", r"\boxed{8.0}", "so \\boxed{8}", r"\boxed{1}", "no idea", "The answer is 5"])
    policy = make_policy()
    spoken = {}
    generate = policy.generate

    def speak(prompts, *, max_new_tokens, **how):
        if not max_new_tokens:
            return generate(prompts, max_new_tokens=0, **how)
        ids = range(100, 100 + len(prompts))
        spoken.update({i: next(texts) for i in ids})
        return [Completion([i], None, True, 1) for i in ids]

    monkeypatch.setattr(policy, "generate", speak)
    monkeypatch.setattr(policy, "decode_text", lambda ids, **_: spoken[ids[0]])
    outcomes = answer("self_consistency", random_problems(2), policy=policy)
    assert outcomes["0"].answer_text == r"\boxed{8.0}"
    assert outcomes["1"].answer_text == r"\boxed{1}", "three samples, no two alike: the first that states something"


def test_few_shot_shows_its_examples_first():
    shots = (Problem("s1", "how many?", "3", "tiny-gsm", "one <<1+2=3>>3"), Problem("s2", "and now?", "4", "tiny-gsm", "two"))
    messages = render_prompt(random_problems(1)[0], shots=shots)
    assert [m["role"] for m in messages][-5:] == ["user", "assistant", "user", "assistant", "user"]
    assert messages[-4]["content"] == r"one 3 The answer is \boxed{3}."
    assert extract_answer(messages[-2]["content"], style="boxed", benchmark="tiny-gsm") == "4"
    policy, problems = make_policy(), random_problems(2)
    outcomes, plain = (
        answer("few_shot", problems, options=Options(shots=shots)),
        answer("cot", problems, options=Options(shots=shots)),
    )
    expected = policy.generate([policy.encode(render_prompt(p, shots=shots)) for p in problems], max_new_tokens=16)
    assert [o.answer_text for o in outcomes.values()] == [policy.decode_text(c.token_ids) for c in expected]
    assert all(plain[i].prompt_tokens < outcomes[i].prompt_tokens for i in outcomes)


def test_self_reflection_is_one_conversation_of_three_turns():
    policy, problem = make_policy(), random_problems(1)[0]
    outcome = answer("self_reflection", [problem])[problem.id]
    talk, lengths, texts = render_prompt(problem), [], []
    asks = load_prompt("reflection")
    for ask in ("", asks["critique"], asks["revision"]):
        talk += [{"role": "user", "content": ask}] if ask else []
        prompt = policy.encode(talk)
        (completion,) = policy.generate([prompt], max_new_tokens=16)
        lengths.append(len(prompt))
        texts.append((policy.decode_text(completion.token_ids), completion.decoded))
        talk.append({"role": "assistant", "content": texts[-1][0]})
    assert outcome.prompt_tokens == sum(lengths)
    assert [step["answer_text"] for step in outcome.steps] == [texts[0][0], texts[2][0]]
    assert outcome.steps[1]["critique"] == texts[1][0]
    assert (outcome.answer_tokens, outcome.verifier_tokens) == (texts[0][1] + texts[2][1], texts[1][1])


def test_resample_stops_at_the_first_answer_that_passes():
    problems = random_problems(6)
    seen = {}

    def judge(asked, answers):
        for problem in asked:
            seen[problem.id] = seen.get(problem.id, 0) + 1
        return [0.0 if seen[problem.id] > int(problem.id) % 3 else -1.0 for problem in asked]

    outcomes = answer("resample", problems, judge)
    assert {i: o.n_iterations for i, o in outcomes.items()} == {str(i): i % 3 for i in range(6)}


@pytest.mark.parametrize(("reward", "said"), [
    (lambda problems, answers: [0.0], "gave 1 scores for 3 answers"),
    (lambda problems, answers: [float("nan")] * len(answers), "no finite number for problem 0"),
    (lambda problems, answers: ["good"] * len(answers), "gave something that is no number"),
])  # fmt: skip
def test_a_reward_that_gives_no_scores_is_named(reward, said):
    reward.__name__ = "mine"
    for method in sorted(REWARDED):
        with pytest.raises(ValueError, match=f"reward mine {said}" if "gave" in said else said):
            answer(method, random_problems(3), reward, Options(n_samples=1))
