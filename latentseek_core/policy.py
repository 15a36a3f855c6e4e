"""`Policy`: a Hugging Face causal language model seen as π = head ∘ backbone.

LatentSeek needs one cut through the model: the backbone turns tokens into latents z_t (the last hidden states, after the final
norm), the head turns a latent into logits, and x_t is read from softmax(head(z_t)). This file makes that cut for any causal
model, checks at load that nothing is lost by it, and decodes in batches with a key-value cache. No other file knows
transformers' caches.
"""

from __future__ import annotations

import hashlib
import inspect
import secrets
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers  # its names are looked up where they are used: the models behind them take seconds to import
from huggingface_hub import snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from jinja2.exceptions import TemplateError
from tqdm import tqdm

from .hub import offline_if_unreachable
from .problems import DATA

MODELS_FOLDER = DATA / "models"
BATCH_SIZE = 64

Messages = list[dict[str, str]]
# From logits `[rows, vocabulary]`, and each row's place among the prompts with the number of its tokens, to `[rows, hidden]`.
Feed = Callable[[torch.Tensor, list[tuple[int, int]]], torch.Tensor]


def embedded_models() -> list[str]:
    """Names of the language models in the box, each usable wherever a model is named."""
    return sorted(path.parent.name for path in MODELS_FOLDER.glob("*/config.json") if "ForCausalLM" in path.read_text())


@dataclass(frozen=True, eq=False)
class Memory:
    """What the model keeps of tokens that it has read, so as not to read them again: keys and values of each layer, each
    `[heads, len(tokens), width]`."""

    tokens: list[int]
    states: list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, eq=False)
class Completion:
    """What was decoded after one prompt.

    Attributes:
        token_ids: forced tokens included, the stop token included when reached.
        latents: `[len(token_ids), hidden]` (or the first rows of it), z_t the state that x_t was read from; None unless asked for.
        finished: a stop token ended it (rather than the length limit).
        decoded: how many of the tokens were decoded rather than forced.
        memory: of the prompt and the first tokens; None unless asked for, or where the model's window has dropped some.
    """

    token_ids: list[int]
    latents: torch.Tensor | None
    finished: bool
    decoded: int
    memory: Memory | None = None


@dataclass(eq=False)
class _Row:
    """One prompt while it is being decoded."""

    index: int
    prompt: list[int]
    forced: list[int]
    limit: int
    draws: torch.Tensor | None
    memory: Memory | None
    embeddings: torch.Tensor | None

    def __post_init__(self):
        self.begin()

    def begin(self) -> None:
        """Nothing is decoded yet, or no longer."""
        self.tokens: list[int] = list(self.forced)
        self.latents: list[torch.Tensor] = []
        self.finished = False


@dataclass(frozen=True)
class _How:
    """How a batch is decoded; see `Policy.generate`."""

    stops: frozenset[int]
    temperature: float
    kept: int
    bare_head: bool
    remember: int | None
    shift: torch.Tensor | None
    feed: Feed | None


class Policy:
    """A frozen causal language model with its tokenizer, as the policy π of the paper.

    Attributes:
        name: the embedded model's name, the folder's name, or the hub id.
        folder: the model's folder where it is a local one (it may bring prompt files of its own).
        files: the files that the weights were read from; none for a model built in memory.
        stop_ids: tokens that end an answer.
        context_length: most positions the model was made for, None if it doesn't say.
        window: how far the model's shortest sliding window reaches, None if it has none.
        forwarded_tokens: real token positions that went through the backbone since this was last set to 0.
        padded_tokens: padding positions that went through beside them.
        batch_size: most answers decoded at once; halved where the memory doesn't hold them.
    """

    def __init__(
        self,
        model: transformers.PreTrainedModel,
        tokenizer: transformers.PreTrainedTokenizerBase,
        *,
        name: str = "",
        folder: Path | None = None,
    ):
        self.model, self.tokenizer, self.name, self.folder = model.eval().requires_grad_(False), tokenizer, name, folder
        self.files: list[Path] = []
        self.batch_size = BATCH_SIZE
        self.forwarded_tokens = self.padded_tokens = 0
        self.text_config = model.config.get_text_config()
        self.context_length: int | None = getattr(self.text_config, "max_position_embeddings", None)
        self.stop_ids = frozenset(_as_list(model.generation_config.eos_token_id) + _as_list(tokenizer.eos_token_id))
        self.backbone, self.head_module = self._cut()
        sliding = [
            layer.sliding_window for layer in transformers.DynamicCache(config=self.text_config).layers if layer.is_sliding
        ]
        self.window: int | None = min(sliding, default=None)
        self._accepts = set(inspect.signature(self.backbone.forward).parameters)
        self._check_head()

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        device: str = "auto",
        dtype: str | torch.dtype = "auto",
        revision: str | None = None,
        gguf_file: str | None = None,
        **model_kwargs: Any,
    ) -> Policy:
        """Loads a model by the name of an embedded one, by folder, or by hub id.

        Args:
            device: `auto` takes a GPU if there is one.
            dtype: `auto` is float32 on a CPU and the checkpoint's own type elsewhere.
            revision: of a hub model.
            gguf_file: a GGUF file in the folder or repository, in place of safetensors.
            model_kwargs: passed on to transformers (`device_map`, `quantization_config`, `trust_remote_code`, …).

        Raises:
            ValueError: no such model, or not one that splits into backbone and head.
        """
        places, needed = (MODELS_FOLDER / name_or_path, Path(name_or_path)), gguf_file or "config.json"
        folder = next((path for path in places if (path / needed).is_file()), None)
        if folder and not gguf_file and not any(list(folder.glob(name)) for name in ("*token*", "vocab*", "*.model")):
            # transformers may make an empty one instead, without a word
            raise ValueError(f"the model in {folder} can't be loaded: it has no tokenizer; save it there too (save_pretrained)")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if dtype == "auto" and device == "cpu":
            dtype = torch.float32
        where = {"revision": revision, "gguf_file": gguf_file}
        source, kwargs = folder or str(name_or_path), {key: value for key, value in where.items() if value is not None}
        remote = {key: model_kwargs[key] for key in ("trust_remote_code", "token") if key in model_kwargs}
        try:
            with nullcontext() if folder else offline_if_unreachable():
                tokenizer = transformers.AutoTokenizer.from_pretrained(source, **kwargs, **remote)
                model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **kwargs, **model_kwargs)
        except (OSError, ValueError) as error:
            raise ValueError(_cannot_load(name_or_path, folder, error)) from error
        if "device_map" not in model_kwargs and "quantization_config" not in model_kwargs:
            model = model.to(device)
        policy = cls(model, tokenizer, name=folder.name if folder else str(name_or_path), folder=folder)
        policy.files = _weight_files(folder or _snapshot(source, revision, model_kwargs.get("cache_dir")), gguf_file)
        return policy

    # --- the cut ---

    def _cut(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        backbone, head = self.model.base_model, self.model.get_output_embeddings()
        if self.model.config.is_encoder_decoder:
            raise ValueError(f"{self.name}: an encoder-decoder model has no single chain of latents; use a decoder-only model")
        if backbone is self.model or head is None or not hasattr(head, "weight"):
            raise ValueError(
                f"{self.name}: no backbone and head found in {type(self.model).__name__}; use a causal language model"
            )
        if "past_key_values" not in inspect.signature(backbone.forward).parameters:
            raise ValueError(
                f"{self.name}: {type(self.model).__name__} keeps a recurrent state that can't go back; use an attention model"
            )
        return backbone, head

    def head(self, latents: torch.Tensor, *, bare: bool = False) -> torch.Tensor:
        """Logits `[..., vocabulary]` of latents `[..., hidden]`, in the latents' own precision.

        Bias, logit scale and soft-capping included; with `bare`, the head module alone.
        """
        module = self.head_module
        latents = latents.to(module.weight.device)
        if latents.dtype == module.weight.dtype:
            logits = module(latents)
        else:
            bias = getattr(module, "bias", None)
            logits = F.linear(latents, module.weight.to(latents.dtype), None if bias is None else bias.to(latents.dtype))
        return logits if bare else self._finish(logits)

    def embed(self, token_ids: torch.Tensor) -> torch.Tensor:
        """The input embeddings `[..., hidden]` of tokens `[...]`, as the backbone takes them."""
        return self.model.get_input_embeddings()(token_ids)

    def _finish(self, logits: torch.Tensor) -> torch.Tensor:
        """What some models do to the logits behind their head (Cohere, Granite, Gemma)."""
        config = self.text_config
        scale = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
        cap = getattr(config, "final_logit_softcapping", None)
        logits = logits if scale == 1.0 else logits * scale
        return torch.tanh(logits / cap) * cap if cap else logits

    @torch.no_grad()
    def _check_head(self) -> None:
        size = self.head_module.weight.shape[0]
        ids = torch.arange(1, 9, device=self.device).remainder(size)[None]
        expected = self.model(input_ids=ids, use_cache=False).logits.float()
        actual = self.head(self.backbone(input_ids=ids, use_cache=False).last_hidden_state).float()
        tolerance = 1e-4 if self.dtype == torch.float32 else 2e-2
        if actual.shape != expected.shape or (actual - expected).abs().max() > tolerance * (1 + expected.abs().max()):
            raise ValueError(
                f"{self.name}: the head applied to the backbone's output does not give the model's own logits "
                f"({type(self.model).__name__} does something else in between); this model can't be used"
            )

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    # --- text ---

    def render(self, messages: Messages) -> str:
        """The text that the model's chat template makes of messages, ready for the answer to follow.

        A template without a system role gets the system's words at the start of the user's. A tokenizer without a template gets
        plain text, and a warning says so once.
        """
        if not self.tokenizer.chat_template:
            warnings.warn(f"{self.name} has no chat template: prompts are given as plain text", stacklevel=2)
            return "\n\n".join(message["content"] for message in messages) + "\n\n"
        try:
            return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError:
            system, first, *rest = messages
            merged = {"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"}
            return self.tokenizer.apply_chat_template([merged, *rest], tokenize=False, add_generation_prompt=True)

    def encode(self, messages_or_text: Messages | str) -> list[int]:
        """Token ids of chat messages (through the template, which writes its own special tokens) or of plain text (with the
        tokenizer's special tokens)."""
        plain = isinstance(messages_or_text, str) or not self.tokenizer.chat_template
        text = messages_or_text if isinstance(messages_or_text, str) else self.render(messages_or_text)
        return self.tokenizer(text, add_special_tokens=plain)["input_ids"]

    def decode_text(self, token_ids: Sequence[int], *, special_tokens: bool = False) -> str:
        """The text of tokens, without special tokens unless asked for."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=not special_tokens, clean_up_tokenization_spaces=False)

    # --- decoding ---

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        forced: Sequence[Sequence[int]] | None = None,
        max_new_tokens: int | Sequence[int],
        stop_ids: Collection[int] | None = None,
        temperature: float = 0.0,
        seed: int | Sequence[int] | None = None,
        keep_latents: bool | int = False,
        bare_head: bool = False,
        after: Sequence[Memory | None] | None = None,
        remember: int | None = None,
        shift: torch.Tensor | None = None,
        embedded: Sequence[torch.Tensor] | None = None,
        feed: Feed | None = None,
        progress: str | None = None,
    ) -> list[Completion]:
        """Decodes an answer to each prompt: greedy at temperature 0, else sampled.

        Args:
            prompts: token ids; none may be empty.
            forced: tokens that the answers start with, counted in `max_new_tokens`; stop tokens among them stop nothing.
            max_new_tokens: for all, or for each prompt.
            stop_ids: tokens that end an answer; the model's own by default.
            seed: for all, or for each prompt. A prompt's draws depend on its seed, its tokens and how many equal prompts come before it
                in the list, and on nothing else in the batch.
            keep_latents: return z_1..z_T with each completion, or, given a number, the first so many of them.
            bare_head: read tokens off the head module alone, without what the model does to its logits behind it.
            after: memories of earlier completions; as far as a prompt and its forced tokens begin alike, they are not read again.
            remember: return a memory of each prompt and of so many tokens of its answer.
            shift: `[prompts, hidden]`, added to each latent that a token of the prompt's answer is read from.
            embedded: for each prompt `[k, hidden]`, input embeddings to read in place of those of its first k forced tokens.
            feed: the input embedding to read next, given a token's logits, in place of the token's own.
            progress: a label for a progress bar; none is shown without.

        Returns:
            Completions in the order of the prompts. An answer ends early, unfinished, where the model's context is full.

        Raises:
            ValueError: an empty prompt, or one that leaves no room in the model's context.
        """
        rows = self._rows(prompts, forced, max_new_tokens, temperature, seed, after, embedded)
        stops = self.stop_ids if stop_ids is None else frozenset(stop_ids)
        kept = 2**31 if keep_latents is True else int(keep_latents)
        how = _How(stops, temperature, kept, bare_head, remember, shift, feed)
        with tqdm(total=len(rows), desc=progress, unit="answer", disable=progress is None) as bar:
            for _ in self._decode_all(rows, how):
                bar.update()
        return [_complete(row) for row in rows]

    def _decode_all(self, rows: list[_Row], how: _How) -> Iterator[_Row]:
        """Decodes in batches of rows of like length, yielding each row as it ends; a batch that the memory doesn't hold is begun
        anew, smaller, without those of its rows that have ended."""
        waiting = sorted(rows, key=lambda row: len(row.prompt) + len(row.forced))
        while waiting:
            batch = waiting[: self.batch_size]
            try:
                for row in self._decode(batch, how):
                    waiting.remove(row)
                    yield row
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                self._halve(len(batch))
                for row in batch:
                    if row in waiting:
                        row.begin()

    def _halve(self, tried: int) -> None:
        """Goes on with half the batch that was too large."""
        if tried == 1:
            raise RuntimeError(
                f"{self.name}: out of memory with a single answer; use a shorter limit, a smaller dtype or device_map"
            )
        self.batch_size = tried // 2
        warnings.warn(f"{self.name}: out of memory with {tried} answers at once, going on with {self.batch_size}", stacklevel=3)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _rows(self, prompts, forced, max_new_tokens, temperature, seed, after, embedded) -> list[_Row]:
        forced, after, embedded = (
            forced or [[] for _ in prompts],
            after or [None] * len(prompts),
            embedded or [None] * len(prompts),
        )
        limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else list(max_new_tokens)
        seeds = list(seed) if isinstance(seed, Sequence) else [seed] * len(prompts)
        rows, copies = [], {}
        for index, (prompt, start, limit, own, memory) in enumerate(zip(prompts, forced, limits, seeds, after, strict=True)):
            try:
                room = self.room(prompt)
            except ValueError as error:
                raise ValueError(f"prompt {index}: {error}") from error
            key = (tuple(prompt), own)
            copies[key] = copies.get(key, -1) + 1
            limit = min(limit, room)
            draws = _draws(limit, own, prompt, copies[key]) if temperature > 0 else None
            rows.append(_Row(index, list(prompt), list(start)[:limit], limit, draws, memory, embedded[index]))
        return rows

    def room(self, prompt: Sequence[int]) -> int:
        """How many tokens the model's context has room for behind a prompt.

        Raises:
            ValueError: none, or the prompt is empty.
        """
        if not prompt:
            raise ValueError("it is empty; a model needs at least one token to start from")
        room = (self.context_length or 2**31) - len(prompt)
        if room < 1:
            raise ValueError(
                f"it has {len(prompt)} tokens, but the context of {self.name or 'the model'} holds {self.context_length}; "
                "shorten the question or take a model with a longer context"
            )
        return room

    def _decode(self, rows: list[_Row], how: _How) -> Iterator[_Row]:
        """Decodes one batch, yielding each row as it ends; a row that has ended leaves the batch."""
        live = [row for row in rows if len(row.tokens) < row.limit or how.kept or how.remember is not None]
        yield from (row for row in rows if row not in live)
        if not live:
            return
        latents, cache, mask = self._prefill(live, bool(how.kept))
        if how.kept:
            for row, states in zip(live, latents, strict=True):
                row.latents.extend(states[len(states) - len(row.forced) - 1 : -1][: how.kept])
        latents = latents[:, -1]
        while True:
            if how.shift is not None:
                latents = latents + how.shift[[row.index for row in live]].to(latents)
            logits = self.head(latents, bare=how.bare_head)
            tokens = self._choose(logits, live, how.temperature)
            for row, token, latent in zip(live, tokens.tolist(), latents, strict=True):
                if len(row.tokens) < row.limit:
                    row.tokens.append(token)
                    row.finished = token in how.stops
                    row.latents += [latent] if len(row.latents) < how.kept else []
            staying = [i for i, row in enumerate(live) if not row.finished and len(row.tokens) < row.limit]
            if len(staying) < len(live):
                for i in sorted(set(range(len(live))) - set(staying)):
                    live[i].memory = None if how.remember is None else _remember(cache, mask[i], i, live[i], how.remember)
                    yield live[i]
                if not staying:
                    return
                keep = torch.tensor(staying, device=self.device)
                cache.batch_select_indices(keep)
                live, tokens, mask, logits = [live[i] for i in staying], tokens[keep], mask[keep], logits[keep.to(logits.device)]
            mask = torch.cat([mask, mask.new_ones(len(live), 1)], dim=1)
            read = tokens if how.feed is None else how.feed(logits, [(row.index, len(row.tokens)) for row in live])
            latents = self._forward(read[:, None], mask, cache)[:, -1]

    def _prefill(self, rows: list[_Row], all_latents: bool) -> tuple[torch.Tensor, transformers.DynamicCache, torch.Tensor]:
        """Reads what is not yet known of prompts and forced tokens: states `[rows, new, hidden]`, cache, mask `[rows, known + new]`.

        Known and new part are each padded on the left; the mask hides the padding of both.
        """
        sequences = [row.prompt + row.forced for row in rows]
        known = self._known(rows, sequences, all_latents)
        before, new = max(known), max(len(s) - k for s, k in zip(sequences, known, strict=True))
        cache = transformers.DynamicCache(config=self.text_config)
        if before:
            _recall(cache, rows, known, before)
        ids, mask = [], []
        for sequence, k in zip(sequences, known, strict=True):
            gap = new - (len(sequence) - k)
            ids.append([0] * gap + sequence[k:])
            mask.append([0] * (before - k) + [1] * k + [0] * gap + [1] * (new - gap))
        ids, mask = torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)
        return self._forward(self._embedded(ids, rows), mask, cache), cache, mask

    def _embedded(self, ids: torch.Tensor, rows: list[_Row]) -> torch.Tensor:
        """The same tokens as input embeddings where some row brings its own; forced tokens are the last of each row."""
        if all(row.embeddings is None for row in rows):
            return ids
        embeddings = self.embed(ids)
        for read, row in zip(embeddings, rows, strict=True):
            if row.embeddings is not None:
                own, start = row.embeddings[: len(row.forced)], len(read) - len(row.forced)
                read[start : start + len(own)] = own.to(read)
        return embeddings

    def _known(self, rows: list[_Row], sequences: list[list[int]], all_latents: bool) -> list[int]:
        """How many tokens of each row need not be read again: at least one must be, for a state to read the next token from."""
        if self.window and 2 * max(map(len, sequences)) + max(row.limit for row in rows) > self.window:
            return [0] * len(rows)  # with padding in the middle, a sliding window would reach less far than it should
        whole = [all_latents or row.embeddings is not None for row in rows]  # a memory knows tokens, not embeddings
        ends = [(len(row.prompt) if all_ else len(s)) - 1 for all_, row, s in zip(whole, rows, sequences, strict=True)]
        memories = [row.memory.tokens if row.memory else [] for row in rows]
        return [shared_length([m, s[:end]]) for m, s, end in zip(memories, sequences, ends, strict=True)]

    def _forward(self, read: torch.Tensor, mask: torch.Tensor, cache: transformers.DynamicCache) -> torch.Tensor:
        """The backbone on new tokens `[rows, new]`, or embeddings `[rows, new, hidden]`, behind a cache; `mask`
        `[rows, cached + new]` is 0 at padding."""
        rows, new = read.shape[:2]
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -new:]
        real = int(mask[:, -new:].sum())
        self.forwarded_tokens += real
        self.padded_tokens += rows * new - real
        extra = {"position_ids": positions} if "position_ids" in self._accepts else {}
        extra["inputs_embeds" if read.is_floating_point() else "input_ids"] = read
        return self.backbone(attention_mask=mask, past_key_values=cache, use_cache=True, **extra).last_hidden_state

    def _choose(self, logits: torch.Tensor, rows: list[_Row], temperature: float) -> torch.Tensor:
        top, best = logits.max(-1)  # NaN where any of them is
        if not top.isfinite().all():
            raise ValueError(f"{self.name or 'the model'} gives logits that are no numbers (NaN or infinite); try another dtype")
        if temperature <= 0:
            return best.to(self.device)
        cumulative = (logits.double() / temperature).softmax(-1).cumsum(-1)
        draws = torch.stack([row.draws[min(len(row.tokens), row.limit - 1)] for row in rows]).to(cumulative.device)
        chosen = torch.searchsorted(cumulative, (draws * cumulative[:, -1])[:, None], right=True)[:, 0]
        return chosen.clamp(max=logits.shape[-1] - 1).to(self.device)


def _out_of_memory(error: RuntimeError) -> bool:
    """CUDA has an error of its own for it; a CPU's allocator says so in words."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _complete(row: _Row) -> Completion:
    latents = torch.stack(row.latents) if row.latents else None
    return Completion(row.tokens, latents, row.finished, len(row.tokens) - len(row.forced), row.memory)


def _remember(cache: transformers.DynamicCache, mask: torch.Tensor, place: int, row: _Row, count: int) -> Memory | None:
    """The memory of one row of a batch, without padding."""
    if any(not layer.is_initialized or layer.keys.shape[-2] != len(mask) for layer in cache.layers):
        return None
    columns = mask.nonzero()[: len(row.prompt) + count, 0]
    states = [(layer.keys[place][:, columns], layer.values[place][:, columns]) for layer in cache.layers]
    return Memory((row.prompt + row.tokens)[: len(columns)], states)


def _recall(cache: transformers.DynamicCache, rows: list[_Row], known: list[int], width: int) -> None:
    """Fills a new cache with the first `known` tokens of each row's memory, padded on the left to `width`."""
    nothing = next(row.memory for row in rows if row.memory)
    for layer in range(len(cache.layers)):
        states = [(row.memory or nothing).states[layer] for row in rows]
        keys, values = (
            torch.stack([F.pad(state[:, :k], (0, 0, width - k, 0)) for state, k in zip(column, known, strict=True)])
            for column in zip(*states, strict=True)
        )
        cache.update(keys, values, layer)


def _draws(count: int, seed: int | None, prompt: Sequence[int], copy: int) -> torch.Tensor:
    """Uniform numbers for one answer's tokens; the same on every device and in every batch."""
    if seed is None:
        seed = secrets.randbits(62)
    generator = torch.Generator().manual_seed(seed_of(seed, list(prompt), copy))
    return torch.rand(count, generator=generator, dtype=torch.float64)


def seed_of(*what: object) -> int:
    """A seed for what these values name, the same on every machine; below 2^56."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:7], "big")


def shared_length(sequences: Sequence[Sequence[int]]) -> int:
    """How many tokens all sequences begin with in common."""
    return sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, zip(*sequences, strict=False)))


def _as_list(ids: int | list[int] | None) -> list[int]:
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)


def _snapshot(name: str, revision: str | None, cache_dir: str | None) -> Path | None:
    """Where the hub's cache holds the files that a model was just loaded from."""
    try:
        return Path(snapshot_download(name, revision=revision, cache_dir=cache_dir, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _weight_files(folder: Path | None, gguf_file: str | None) -> list[Path]:
    """The files that transformers reads weights from: safetensors where there are any."""
    if folder is None:
        return []
    patterns = [gguf_file] if gguf_file else ["model*.safetensors", "pytorch_model*.bin"]
    return next((sorted(found) for pattern in patterns if (found := list(folder.glob(pattern)))), [])


def _cannot_load(name: str | Path, folder: Path | None, error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if folder is not None:
        return f"the model in {folder} can't be loaded: {reason}"
    known = ", ".join(embedded_models()) or "none"
    return (
        f"unknown model {str(name)!r}: it is no embedded model ({known}), no folder with a config.json, "
        f"and can't be had from the hub ({reason})"
    )
