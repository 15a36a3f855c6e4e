"""SLOT, LTPO and Soft Thinking against their formulas on toys, and against the model run by hand without cache or batch."""

import math
from types import SimpleNamespace

import pytest
import torch
from conftest import ALL, make_policy, random_problems

from latentseek_core import SeekConfig
from latentseek_core.attempts import Options, prompt_ids
from latentseek_core.methods import METHODS
from latentseek_core.rivals import SoftTokens, _around_thoughts, fit_shift, search_thoughts, slot
from latentseek_core.signals import confidence

CONFIG = SeekConfig(max_new_tokens=10, max_iterations=3, learning_rate=0.1)
RIVALS = ["slot", "ltpo", "soft_thinking"]


def answers(method, policy, config=CONFIG, count=3, **options):
    options = Options(**{"n_thoughts": 4, "sigma": 0.5} | options)
    outcomes = [o for group in METHODS[method](policy, random_problems(count), None, config, options) for o in group]
    return {outcome.problem_id: outcome for outcome in outcomes}


def decode(policy, embeddings, limit, next_embedding, shift=0.0):
    """Greedy decoding, one whole forward a token; `next_embedding` says what is read for a token, given its logits."""
    tokens = []
    while len(tokens) < limit and not (tokens and tokens[-1] in policy.stop_ids):
        hidden = policy.backbone(inputs_embeds=embeddings[None]).last_hidden_state[0, -1]
        logits = policy.head(hidden + shift)
        tokens.append(int(logits.argmax()))
        embeddings = torch.cat([embeddings, next_embedding(logits)[None]])
    return tokens


@torch.no_grad()
@pytest.mark.parametrize("architecture", ALL)
def test_embeddings_of_ones_own_change_nothing(architecture):
    """The tokens' own embeddings in place of the tokens, at the prompt's end and at each step."""
    policy = make_policy(architecture)
    prompts, forced = [[7, 8, 9, 10], [11, 12, 13]], [[21, 22, 23, 24], [25, 26]]
    how = {"forced": forced, "max_new_tokens": [12, 10]}
    plain = policy.generate(prompts, **how)
    own = [policy.embed(torch.tensor(ids[:2])) for ids in forced]
    opened = policy.generate(prompts, forced=forced, max_new_tokens=[12, 10], remember=9)
    feed = lambda logits, rows: policy.embed(logits.argmax(-1))  # noqa: E731
    for other in ({"embedded": own}, {"embedded": own, "after": [c.memory for c in opened]}, {"feed": feed}):
        assert [c.token_ids for c in policy.generate(prompts, **how, **other)] == [c.token_ids for c in plain]
    others = [[embeddings.flip(0).roll(k, -1) for embeddings in own] for k in range(4)]
    moved = [policy.generate(prompts, **how, embedded=other) for other in others]
    assert any(a.token_ids != b.token_ids for each in moved for a, b in zip(each, plain, strict=True))
    for each, other in zip(moved, others, strict=True):
        again = policy.generate(prompts, **how, embedded=other, after=[c.memory for c in opened])
        assert [c.token_ids for c in again] == [c.token_ids for c in each], "a memory of tokens is none of their embeddings"


@pytest.mark.parametrize("method", RIVALS)
def test_costs_are_token_forwards(method):
    """SLOT and Soft Thinking: prompt and answer once. LTPO: its open prompt once, then k and the tail in each step and at the end."""
    policy = make_policy()
    policy.forwarded_tokens = 0
    found = answers(method, policy, batch_size=2)
    decoded = sum(outcome.answer_tokens for outcome in found.values())
    assert all(outcome.n_iterations == 0 and outcome.verifier_tokens == 0 for outcome in found.values())
    options = Options(n_thoughts=4)
    if method == "ltpo":
        parts = [_around_thoughts(policy, problem, options) for problem in random_problems(3)]
        assert [o.prompt_tokens for o in found.values()] == [len(head) + len(tail) for head, tail in parts]
        # In each reading the open prompt's last token is read again; an answer's last token is read by no one.
        again = sum((len(tail) + 1) * (CONFIG.max_iterations + 1) for _, tail in parts)
        assert policy.forwarded_tokens == sum(len(head) for head, _ in parts) + again + decoded - 3
    else:
        prompts = sum(len(prompt_ids(policy, problem, options)) for problem in random_problems(3))
        # SLOT reads the prompt's last token twice: to fit the vector, and to decode from.
        assert policy.forwarded_tokens == prompts + decoded - 3 + (3 if method == "slot" else 0)


@pytest.mark.parametrize("method", RIVALS)
def test_zero_strength_is_the_chain_of_thought(method):
    policy = make_policy()
    tiny = SeekConfig(max_new_tokens=10, max_iterations=1, learning_rate=1e-12)
    cots = answers("cot", policy, tiny)
    if method == "ltpo":  # placeholders change the prompt: with η = 0 the answer is that behind their own embeddings
        parts = [_around_thoughts(policy, problem, Options(n_thoughts=4)) for problem in random_problems(3)]
        plain = policy.generate([head + tail for head, tail in parts], max_new_tokens=10)
        texts = [policy.decode_text(c.token_ids) for c in plain]
    else:
        texts = [outcome.answer_text for outcome in cots.values()]
    calm = {"cold_entropy": math.inf, "cold_steps": 1}
    assert [o.answer_text for o in answers(method, policy, tiny, **calm).values()] == texts


# --- SLOT ---


def test_slot_descends_the_prompts_loss():
    """−(1/(P−1)) Σ_t log softmax(W(h_t + δ))_{x_{t+1}}: AdamW's steps on it, written out with a gradient by hand."""
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    toy = SimpleNamespace(head=lambda z: z @ weight.T)
    states, targets = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)), [1, 4, 0, 2]
    shift, m, v = torch.zeros(3), 0, 0
    for k in (1, 2, 3):
        chances = ((states + shift) @ weight.T).softmax(-1)
        gradient = ((chances - torch.nn.functional.one_hot(torch.tensor(targets), 5)) @ weight).mean(0)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        shift = shift * (1 - 0.1 * 1e-8) - 0.1 * (m / (1 - 0.9**k)) / ((v / (1 - 0.999**k)).sqrt() + 1e-5)
    torch.testing.assert_close(fit_shift(toy, states, targets, CONFIG), shift)


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["qwen2", "gemma2", "gpt2"])
def test_slot_adds_the_vector_to_each_latent(architecture):
    policy, strong = make_policy(architecture), SeekConfig(max_new_tokens=10, max_iterations=3, learning_rate=2.0)
    found, plain = answers("slot", policy, strong), answers("cot", policy, strong)
    for problem in random_problems(3):
        ids = torch.tensor(prompt_ids(policy, problem, Options()))
        states = policy.backbone(input_ids=ids[None]).last_hidden_state[0, :-1]
        shift = fit_shift(policy, states, ids[1:].tolist(), strong)
        expected = decode(policy, policy.embed(ids), 10, lambda logits: policy.embed(logits.argmax(-1)), shift)
        assert found[problem.id].answer_text == policy.decode_text(expected)
    assert any(found[i].answer_text != plain[i].answer_text for i in found)


# --- LTPO ---


def test_ltpo_follows_its_formulas():
    config, options = SeekConfig(max_iterations=4, learning_rate=0.03), Options(sigma=0.2, sigma_decay=0.9)
    start, rewards, asked = torch.ones(2, 3), [2.0, 5.0, 1.0, 4.0], []

    def confidences(candidates):
        asked.append(candidates[0].clone())
        return [rewards[len(asked) - 1]]

    (found,) = search_thoughts(confidences, start, [torch.Generator().manual_seed(3)], config, options)
    generator, h, made = torch.Generator().manual_seed(3), start, []
    for i, reward in enumerate(rewards):
        sigma = 0.2 * 0.9**i
        noise = sigma * torch.randn(2, 3, generator=generator)
        torch.testing.assert_close(asked[i], h + noise)
        h = h + 0.03 * reward * noise / sigma**2
        made.append(h)
    torch.testing.assert_close(found, made[1])


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["qwen2", "gemma2", "gpt2"])
def test_ltpo_is_confident_at_the_placeholders_and_answers_behind_them(architecture, monkeypatch):
    policy, kept = make_policy(architecture), {}
    import latentseek_core.rivals as rivals

    def watched(confidences, start, generators, config, options):
        kept["start"] = start
        kept["values"] = confidences([start + i for i in range(len(generators))])
        return [start + i for i in range(len(generators))]

    monkeypatch.setattr(rivals, "search_thoughts", watched)
    found = answers("ltpo", policy)
    for i, problem in enumerate(random_problems(3)):
        head, tail = _around_thoughts(policy, problem, Options(n_thoughts=4))
        assert len(set(tail[:4])) == 1
        embeddings = policy.embed(torch.tensor(head + tail))
        torch.testing.assert_close(kept["start"], embeddings[len(head) : len(head) + 4])
        embeddings[len(head) : len(head) + 4] += i
        hidden = policy.backbone(inputs_embeds=embeddings[None]).last_hidden_state[0]
        chances = policy.head(hidden[len(head) : len(head) + 5]).double().log_softmax(-1)
        assert kept["values"][i] == pytest.approx(confidence(chances).item(), rel=1e-4)
        expected = decode(policy, embeddings, 10, lambda logits: policy.embed(logits.argmax(-1)))
        assert found[problem.id].answer_text == policy.decode_text(expected)


def test_ltpo_puts_its_placeholders_at_the_end_of_the_question():
    policy = make_policy()
    head, tail = _around_thoughts(policy, random_problems(1)[0], Options(n_thoughts=4))
    text = policy.decode_text(head, special_tokens=True)
    assert "question 0" in text
    assert text.rstrip().endswith("use them where they help.")
    assert tail[:4] == [policy.tokenizer.pad_token_id] * 4
    assert policy.decode_text(tail[4:], special_tokens=True) == "<|assistant|>"
    bare, same = _around_thoughts(policy, random_problems(1)[0], Options(n_thoughts=4, thoughts="ltpo_bare"))
    assert policy.decode_text(bare, special_tokens=True) == text.partition("\n\nBehind")[0]
    assert same == tail
    with pytest.raises(ValueError, match="unknown prompt 'nowhere'"):
        _around_thoughts(policy, random_problems(1)[0], Options(thoughts="nowhere"))


# --- Soft Thinking ---


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["qwen2", "gemma2", "gpt2"])
def test_soft_thinking_reads_the_mean_embedding(architecture):
    policy = make_policy(architecture)
    found = answers("soft_thinking", policy, temperature=2.0)
    table = policy.embed(torch.arange(300))
    for problem in random_problems(3):
        start = policy.embed(torch.tensor(prompt_ids(policy, problem, Options())))
        expected = decode(policy, start, 10, lambda logits: (logits / 2.0).softmax(-1) @ table)
        assert found[problem.id].answer_text == policy.decode_text(expected)


def test_the_cold_stop_waits_for_certainty_in_a_row_and_is_final():
    embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    policy = SimpleNamespace(embed=lambda ids: embeddings[ids], head_module=embeddings_head(), device=torch.device("cpu"))
    soft = SoftTokens(policy, Options(cold_entropy=0.1, cold_steps=2))
    sure, unsure = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    read = [soft(logits, [(0, length)])[0] for length, logits in enumerate([sure, unsure, sure, sure, unsure], 1)]
    torch.testing.assert_close(read[1], torch.tensor([0.5, 0.5]))
    assert read[2][1] > 0, "one sure token is not enough"
    assert read[3].tolist() == [1.0, 0.0]
    assert read[4].tolist() == [1.0, 0.0], "no way back"
    assert soft(unsure, [(0, 1)])[0].tolist() == [0.5, 0.5], "an answer that is begun anew"


def embeddings_head():
    return SimpleNamespace(weight=torch.zeros(2, 2))


def test_batches_change_nothing():
    for method in RIVALS:
        one, many = (answers(method, make_policy(), batch_size=size) for size in (1, 3))
        assert {i: o.answer_text for i, o in one.items()} == {i: o.answer_text for i, o in many.items()}
    assert slot is METHODS["slot"]
