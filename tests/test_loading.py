"""Models as they come: folders, precisions, GGUF files, parts on several devices, base models, tokenizers of all kinds."""

import copy
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import CONFIGS, LengthReward, make_policy, random_problems, random_prompts, tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, MixtralConfig

from latentseek_core import Policy, SeekConfig, seek


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small"
    make_policy().model.save_pretrained(path)
    make_policy().tokenizer.save_pretrained(path)
    return path


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_a_search_in_each_precision(folder, dtype):
    """Latents are moved in float32 all the same; the weights stay what they are."""
    policy = Policy.from_pretrained(folder, dtype=dtype)
    assert policy.dtype == getattr(torch, dtype)
    before = {name: p.clone() for name, p in policy.model.state_dict().items()}
    config = SeekConfig(rho=0.5, learning_rate=0.5, max_iterations=3, max_new_tokens=16)
    results = seek(policy, random_problems(3), LengthReward(), config, progress=False)
    assert sum(len(step.changed) for r in results for step in r.steps) > 0
    assert all(torch.isfinite(torch.tensor(step.latent_norm)) for r in results for step in r.steps)
    assert all(torch.equal(p, before[name]) for name, p in policy.model.state_dict().items())


def test_a_folder_without_a_tokenizer_is_said_to_have_none(folder, tmp_path):
    make_policy().model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="can't be loaded: it has no tokenizer; save it there too"):
        Policy.from_pretrained(tmp_path)


def test_parts_of_a_model_on_named_devices(folder):
    pytest.importorskip("accelerate")
    policy = Policy.from_pretrained(folder, device_map={"": "cpu"})
    assert policy.device == torch.device("cpu")
    prompts = random_prompts(3)
    expected = make_policy().generate(prompts, max_new_tokens=8)
    assert [c.token_ids for c in policy.generate(prompts, max_new_tokens=8)] == [c.token_ids for c in expected]


def test_what_transformers_knows_is_passed_on(folder, monkeypatch):
    """Quantisation, attention kernels, whatever: `model_kwargs` reach transformers as they are, and the model stays where it put it."""
    seen, load = {}, AutoModelForCausalLM.from_pretrained

    def spy(source, **kwargs):
        seen.update(kwargs)
        return load(source, dtype=kwargs["dtype"])

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", spy)
    monkeypatch.setattr(torch.nn.Module, "to", lambda *_: pytest.fail("moved"))
    Policy.from_pretrained(folder, quantization_config="a config", attn_implementation="eager", revision="main")
    assert (seen["quantization_config"], seen["attn_implementation"], seen["revision"]) == ("a config", "eager", "main")


def write_gguf(path, model, words):
    """A GGUF file as llama.cpp's converter writes it for Qwen2: other names, same numbers."""
    gguf = pytest.importorskip("gguf")
    writer, config, state = gguf.GGUFWriter(path, "qwen2"), model.config, model.state_dict()
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    vocabulary = sorted(words.get_vocab().items(), key=lambda item: item[1])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([text for text, _ in vocabulary])
    writer.add_token_types([3 if text in words.all_special_tokens else 1 for text, _ in vocabulary])
    merges = json.loads(words.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_pad_token_id(config.pad_token_id)
    writer.add_chat_template(words.chat_template)
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    parts = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    for layer in range(config.num_hidden_layers):
        names |= {f"model.layers.{layer}.{ours}": f"blk.{layer}.{theirs}" for ours, theirs in parts.items()}
    for name, value in state.items():
        module, kind = name.rsplit(".", 1)
        if not (module == "lm_head" and config.tie_word_embeddings):
            writer.add_tensor(f"{names[module]}.{kind}", value.float().numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file(tmp_path):
    policy = make_policy("qwen2")
    write_gguf(tmp_path / "small.gguf", policy.model, policy.tokenizer)
    loaded = Policy.from_pretrained(tmp_path, gguf_file="small.gguf")
    assert [path.name for path in loaded.files] == ["small.gguf"]
    prompts = random_prompts(4)
    expected = policy.generate(prompts, max_new_tokens=12)
    assert [c.token_ids for c in loaded.generate(prompts, max_new_tokens=12)] == [c.token_ids for c in expected]
    text = "a few words of nothing 123"
    assert loaded.encode(text) == policy.encode(text)


@pytest.mark.slow
def test_a_model_of_the_hub_from_its_cache(folder, tmp_path):
    """The hub's cache as a download leaves it; in a process of its own, since the cache's place is read at import."""
    commit, home = "0123456789abcdef0123456789abcdef01234567", tmp_path / "hub" / "models--some--model"
    shutil.copytree(folder, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    code = (
        "from latentseek_core import Policy\n"
        "policy = Policy.from_pretrained('some/model')\n"
        "print(policy.name, policy.folder, [f.relative_to(f.parents[2]).as_posix() for f in policy.files])\n"
    )
    where = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=where, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == f"some/model None ['snapshots/{commit}/model.safetensors']", done.stderr


def words(**special):
    """The small tokenizer with other special tokens."""
    changed = copy.deepcopy(tokenizer())
    for name, value in special.items():
        setattr(changed, name, value)
    return changed


def with_bos(template: str):
    """A tokenizer that puts a BOS before whatever it reads, as Llama's and Mistral's do."""
    changed = words(bos_token="<|user|>", chat_template=template)
    changed.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|user|> $A", special_tokens=[("<|user|>", changed.convert_tokens_to_ids("<|user|>"))]
    )
    return changed


@pytest.mark.parametrize("template", [
    "{% for m in messages %}{{ m['content'] }}\n{% endfor %}",
    "{{ bos_token }}{% for m in messages %}{{ m['content'] }}\n{% endfor %}",
])  # fmt: skip
def test_never_two_bos(template):
    """A template says itself whether there is one; plain text gets the tokenizer's."""
    policy = Policy(make_policy().model, with_bos(template), name="bos")
    bos, messages = policy.tokenizer.bos_token_id, [{"role": "user", "content": "a few words"}]
    assert policy.encode("a few words")[0] == bos
    assert policy.encode("a few words").count(bos) == 1
    assert policy.encode(messages).count(bos) == ("bos_token" in template)
    policy.tokenizer.chat_template = None
    with pytest.warns(UserWarning, match="no chat template"):
        assert policy.encode(messages).count(bos) == 1


def test_a_tokenizer_without_a_padding_token():
    policy, prompts = Policy(make_policy().model, words(pad_token=None), name="padless"), random_prompts(5)
    assert policy.tokenizer.pad_token_id is None
    expected = make_policy().generate(prompts, max_new_tokens=10)
    assert [c.token_ids for c in policy.generate(prompts, max_new_tokens=10)] == [c.token_ids for c in expected]


def test_tied_and_untied_heads_and_one_with_a_bias():
    for tied in (True, False):
        config = copy.deepcopy(CONFIGS["qwen2"])
        config.tie_word_embeddings = tied
        model = AutoModelForCausalLM.from_config(config)
        policy = Policy(model, tokenizer(), name="qwen2")
        assert (policy.head_module.weight is model.get_input_embeddings().weight) == tied
    model.lm_head = torch.nn.Linear(32, 300, bias=True)
    policy, ids = Policy(model, tokenizer(), name="biased"), torch.tensor(random_prompts(1))
    latents = policy.backbone(input_ids=ids).last_hidden_state
    for z in (latents, latents.double()):
        torch.testing.assert_close(policy.head(z).float(), model(ids).logits, atol=1e-4, rtol=1e-4)


def test_a_model_of_many_experts_searches_too():
    config = MixtralConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48, vocab_size=300,
        num_local_experts=4, bos_token_id=None, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    policy = Policy(AutoModelForCausalLM.from_config(config), tokenizer(), name="mixtral")
    prompts = random_prompts(4)
    together = policy.generate(prompts, max_new_tokens=12)
    assert [policy.generate([p], max_new_tokens=12)[0].token_ids for p in prompts] == [c.token_ids for c in together]
