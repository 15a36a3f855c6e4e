"""The cut through the model, and decoding, against transformers' own."""

import pytest
import torch
from conftest import ALL, make_policy, random_prompts, tokenizer
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, LlamaConfig, MambaConfig, T5Config

from latentseek_core import Policy


@pytest.mark.parametrize("architecture", ALL)
def test_head_of_backbone_is_the_model(architecture):
    policy, ids = make_policy(architecture), torch.tensor([random_prompts(1)[0]])
    latents = policy.backbone(input_ids=ids).last_hidden_state
    torch.testing.assert_close(policy.head(latents), policy.model(ids).logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(policy.head(latents.double()).float(), policy.model(ids).logits, atol=1e-3, rtol=1e-3)


def generate_by_transformers(policy, prompt, limit):
    ids = torch.tensor([prompt])
    out = policy.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=limit, do_sample=False)
    return out[0, len(prompt) :].tolist()


@pytest.mark.parametrize("architecture", ALL)
def test_greedy_decoding_equals_generate_alone_and_in_a_ragged_batch(architecture):
    policy, prompts = make_policy(architecture), random_prompts(6)
    expected = [generate_by_transformers(policy, prompt, 25) for prompt in prompts]
    assert [c.token_ids for c in policy.generate(prompts, max_new_tokens=25)] == expected
    assert [policy.generate([p], max_new_tokens=25)[0].token_ids for p in prompts] == expected


@pytest.mark.parametrize("architecture", ALL)
def test_latents_are_the_states_that_tokens_were_read_from(architecture):
    policy, prompts = make_policy(architecture), random_prompts(4)
    forced = [[5, 6, 7], [], [9], [11, 12]]
    for prompt, start, c in zip(
        prompts, forced, policy.generate(prompts, forced=forced, max_new_tokens=9, keep_latents=True), strict=True
    ):
        assert c.token_ids[: len(start)] == start
        assert c.latents.shape == (len(c.token_ids), policy.text_config.hidden_size)
        states = policy.backbone(input_ids=torch.tensor([prompt + c.token_ids])).last_hidden_state[0]
        torch.testing.assert_close(c.latents, states[len(prompt) - 1 : -1], atol=1e-3, rtol=1e-3)
        assert policy.head(c.latents[len(start) :]).argmax(-1).tolist() == c.token_ids[len(start) :]


def test_forced_tokens_count_towards_the_limit(policy):
    prompt = random_prompts(1)
    (c,) = policy.generate(prompt, forced=[[5, 6, 7]], max_new_tokens=5)
    assert (len(c.token_ids), c.decoded, c.finished) == (5, 2, False)
    (c,) = policy.generate(prompt, forced=[[5, 6, 7]], max_new_tokens=2, keep_latents=True)
    assert (c.token_ids, c.decoded, len(c.latents)) == ([5, 6], 0, 2)


def test_a_stop_token_ends_a_completion_and_belongs_to_it(policy):
    prompt = random_prompts(1)
    (free,) = policy.generate(prompt, max_new_tokens=20, stop_ids=())
    stop = free.token_ids[7]
    (c,) = policy.generate(prompt, max_new_tokens=20, stop_ids=[stop])
    assert c.finished
    assert c.token_ids == free.token_ids[: free.token_ids.index(stop) + 1]


def test_samples_depend_on_seed_and_prompt_alone(policy):
    prompts = random_prompts(5)
    together = policy.generate(prompts, max_new_tokens=12, temperature=5.0, seed=3)
    alone = [policy.generate([p], max_new_tokens=12, temperature=5.0, seed=3)[0] for p in prompts]
    assert [c.token_ids for c in together] == [c.token_ids for c in alone]
    other = policy.generate(prompts, max_new_tokens=12, temperature=5.0, seed=[3, 3, 4, 4, 4])
    assert [a.token_ids == b.token_ids for a, b in zip(together, other, strict=True)] == [True, True, False, False, False]
    copies = policy.generate([prompts[0]] * 3, max_new_tokens=12, temperature=5.0, seed=3)
    assert copies[0].token_ids == together[0].token_ids
    assert len({tuple(c.token_ids) for c in copies}) == 3


def test_samples_follow_the_distribution(policy):
    """The first token's frequencies over 4,000 draws against softmax(logits / T), by chi-squared."""
    prompt = random_prompts(1)[0]
    logits = policy.model(torch.tensor([prompt])).logits[0, -1] / 6.0
    expected = 4000 * logits.softmax(-1)
    drawn = policy.generate([prompt] * 4000, max_new_tokens=1, temperature=6.0, seed=0)
    counts = torch.bincount(torch.tensor([c.token_ids[0] for c in drawn]), minlength=300)
    common = expected > 20
    chi = ((counts - expected) ** 2 / expected)[common].sum()
    assert common.sum() >= 5
    assert chi < common.sum() + 5 * (2 * common.sum()) ** 0.5


def test_forwarded_tokens_are_counted_without_padding(policy):
    prompts = [[5] * 4, [6] * 10]
    policy.forwarded_tokens = policy.padded_tokens = 0
    completions = policy.generate(prompts, max_new_tokens=3, stop_ids=())
    assert policy.forwarded_tokens == 14 + 2 * 2
    assert policy.padded_tokens == 6
    assert all(c.decoded == 3 for c in completions)


def test_what_cannot_be_used_is_refused_in_a_sentence(policy, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="prompt 1: it is empty"):
        policy.generate([[5], []], max_new_tokens=1)
    monkeypatch.setattr(policy, "context_length", 64)  # attention over all of a long context would fill the memory
    long = [5] * policy.context_length
    with pytest.raises(ValueError, match=r"prompt 0: it has \d+ tokens, but the context of qwen2 holds \d+"):
        policy.generate([long], max_new_tokens=1)
    (c,) = policy.generate([long[:-3]], max_new_tokens=50, stop_ids=())
    assert len(c.token_ids) == 3
    with pytest.raises(ValueError, match="unknown model 'no-such-model': it is no embedded model"):
        Policy.from_pretrained("no-such-model")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match="can't be loaded"):
        Policy.from_pretrained(tmp_path)
    t5 = AutoModelForSeq2SeqLM.from_config(T5Config(d_model=8, d_ff=8, num_layers=1, num_heads=1, d_kv=8, vocab_size=300))
    with pytest.raises(ValueError, match="encoder-decoder"):
        Policy(t5, tokenizer(), name="t5")
    mamba = AutoModelForCausalLM.from_config(MambaConfig(hidden_size=8, num_hidden_layers=1, vocab_size=300))
    with pytest.raises(ValueError, match="keeps a recurrent state"):
        Policy(mamba, tokenizer(), name="mamba")


def test_a_head_that_does_something_else_is_refused():
    class Shifted(torch.nn.Linear):
        calls = 0

        def forward(self, x):
            Shifted.calls += 1
            return super().forward(x) + Shifted.calls

    model = AutoModelForCausalLM.from_config(
        LlamaConfig(**{"vocab_size": 300, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1})
    )
    model.lm_head = Shifted(8, 300)
    with pytest.raises(ValueError, match="does not give the model's own logits"):
        Policy(model, tokenizer(), name="odd")


def test_a_saved_model_loads_from_its_folder(policy, tmp_path):
    policy.model.save_pretrained(tmp_path / "saved")
    policy.tokenizer.save_pretrained(tmp_path / "saved")
    loaded = Policy.from_pretrained(tmp_path / "saved")
    assert (loaded.name, loaded.dtype) == ("saved", torch.float32)
    prompts = random_prompts(2)
    assert [c.token_ids for c in loaded.generate(prompts, max_new_tokens=8)] == [
        c.token_ids for c in policy.generate(prompts, max_new_tokens=8)
    ]


def test_templates_without_system_role_or_without_template(policy):
    messages = [{"role": "system", "content": "be exact"}, {"role": "user", "content": "a few words"}]
    whole = policy.tokenizer.chat_template
    try:
        policy.tokenizer.chat_template = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}<|user|>{{ messages[0]['content'] }}"
        assert policy.render(messages) == "<|user|>be exact\n\na few words"
        policy.tokenizer.chat_template = None
        with pytest.warns(UserWarning, match="no chat template"):
            assert policy.render(messages) == "be exact\n\na few words\n\n"
    finally:
        policy.tokenizer.chat_template = whole


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_out_of_memory_halves_the_batch_and_loses_nothing(policy, monkeypatch, error):
    prompts, forward = random_prompts(9), type(policy)._forward
    stop = policy.generate(prompts, max_new_tokens=20, stop_ids=())[3].token_ids[2]
    expected = policy.generate(prompts, max_new_tokens=20, stop_ids=[stop], keep_latents=4, remember=2)
    monkeypatch.setattr(policy, "batch_size", 8)
    reads = []

    def small(self, ids, mask, cache):
        reads.append(len(ids))
        if len(ids) > 3 and mask.shape[1] > 20:  # the cache grew too large amid the decoding
            raise error
        return forward(self, ids, mask, cache)

    monkeypatch.setattr(type(policy), "_forward", small)
    with pytest.warns(UserWarning, match="out of memory with 8 answers at once, going on with 4"):
        completions = policy.generate(prompts, max_new_tokens=20, stop_ids=[stop], keep_latents=4, remember=2)
    assert [c.token_ids for c in completions] == [c.token_ids for c in expected]
    for c, e in zip(completions, expected, strict=True):
        torch.testing.assert_close(c.latents, e.latents, atol=1e-4, rtol=1e-4)
        assert c.memory.tokens == e.memory.tokens
    assert policy.batch_size == 2, "halved twice"
    monkeypatch.setattr(type(policy), "_forward", lambda *_: (_ for _ in ()).throw(error))
    with (
        pytest.warns(UserWarning, match="out of memory"),
        pytest.raises(RuntimeError, match="with a single answer; use a shorter limit"),
    ):
        policy.generate(prompts, max_new_tokens=5)


def test_another_error_is_not_taken_for_a_full_memory(policy, monkeypatch):
    monkeypatch.setattr(type(policy), "_forward", lambda *_: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        policy.generate(random_prompts(3), max_new_tokens=5)
