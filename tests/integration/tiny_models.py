"""Tiny models, of a few hundred kilobytes, for a real Ollama.

The weights are random but not arbitrary. With purely random weights, a language model repeats one token,
emits control characters or stops immediately, which tests nothing. Here every word of the vocabulary has a preferred
successor, and the successors form one cycle: a response consists of words, does not end by itself, depends on
temperature and seed, and does not repeat one word.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import aiohttp
import gguf
import numpy as np
from numpy.typing import NDArray

# Part of the names of cached files; increment it when the content of a model changes.
BUILD = 1

CONTEXT_LENGTH = 4096
EMBEDDING_CONTEXT_LENGTH = 512
EMBEDDING_WIDTH = 768

Weights = NDArray[np.float32]

_WIDTH = 64
_FEED_FORWARD = 64
_HEADS = 4
# Slow enough that a response takes minutes, even on fast machines.
_IDLE_LAYERS = 47
# This column is 1 in every token and unchanged by all layers: a bias for output weights that suppress a token.
_CONSTANT = 0
# Weight of the successor, and penalty of tokens that should not be generated.
_SUCCESSOR_PULL = 0.9
_SILENCE = 24.0

_ONSETS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "br", "st", "tr")
_RIMES = ("a", "e", "i", "o", "u", "an", "er", "il", "on", "ur", "ay", "en")
# What JSON needs, characters that JSON escapes, and text outside ASCII.
_PUNCTUATION = ('"', '":', '",', '"}', "}", "{", "]", ",", ".", ":", "▁<", "▁&", "▁café", "▁naïve", "▁☕", "▁日本")
# Ollama concludes from `.Tools` that the model supports tools.
_LLAMA_TEMPLATE = (
    "{{ if .Tools }}tools: {{ .Tools }}\n{{ end }}{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"
)


@dataclass(frozen=True)
class TinyModel:
    """A tiny model: its name, and the function that writes its file."""

    name: str
    seed: int
    write: Callable[[Path, int], None]
    template: str | None = None

    @property
    def file_name(self) -> str:
        """Return the name of the cached file, which changes whenever its bytes do."""
        return f"{self.name}-{BUILD}.gguf"


def cache_folder() -> Path:
    """Return the folder, outside the repository, that keeps the files between runs."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "ollama-service-tests"


def model_file(model: TinyModel) -> Path:
    """Return the model's GGUF file; make it when the cache has none."""
    path = cache_folder() / model.file_name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Renamed when complete, so that an aborted run leaves no partial file.
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            unfinished = Path(folder) / path.name
            model.write(unfinished, model.seed)
            unfinished.replace(path)
    return path


async def install(session: aiohttp.ClientSession, base_url: str, model: TinyModel) -> None:
    """Install a tiny model through Ollama's "Push a Blob" and "Create a Model"."""
    content = model_file(model).read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    async with session.post(f"{base_url}/api/blobs/{digest}", data=io.BytesIO(content)) as response:
        if response.status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise RuntimeError(f"Ollama refused the file of {model.name}: {await response.text()}")
    body: dict[str, object] = {
        "model": model.name,
        "files": {model.file_name: digest},
        # More threads would mostly wait for each other, especially on a busy machine.
        "parameters": {"num_thread": 1},
        "stream": False,
    }
    if model.template is not None:
        body["template"] = model.template
    async with session.post(f"{base_url}/api/create", json=body) as response:
        if response.status != HTTPStatus.OK:
            raise RuntimeError(f"Ollama could not create {model.name}: {await response.text()}")


def _write_fast_llama(path: Path, seed: int) -> None:
    _llama(path, seed)


def _write_slow_llama(path: Path, seed: int) -> None:
    _llama(path, seed, idle_layers=_IDLE_LAYERS)


def _write_unloadable_llama(path: Path, seed: int) -> None:
    # The metadata is valid, so Ollama accepts the file; tensors are missing, so loading fails.
    _llama(path, seed, left_out=("blk.0.ffn_down.weight", "blk.0.attn_q.weight"))


def _llama(path: Path, seed: int, *, idle_layers: int = 0, left_out: tuple[str, ...] = ()) -> None:
    random = np.random.default_rng(seed)
    tokens, types, scores = _llama_vocabulary()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(CONTEXT_LENGTH)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(1 + idle_layers)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)

    embeddings, output = _circle_of_words(random, tokens, types)
    tensors = {
        "token_embd.weight": embeddings,
        "output.weight": output,
        "output_norm.weight": np.ones(_WIDTH, np.float32),
    }
    # Enough attention that the response depends on the whole prompt, not only on its last token.
    tensors |= _layer(random, 0, attention=0.25, feed_forward=0.05)
    for index in range(1, 1 + idle_layers):
        tensors |= _layer(random, index, attention=0.0, feed_forward=0.0)
    for name, weights in tensors.items():
        if name not in left_out:
            writer.add_tensor(name, weights)
    _close(writer)


def _layer(random: np.random.Generator, index: int, *, attention: float, feed_forward: float) -> dict[str, Weights]:
    """Return a layer with a given weight; with 0 it only takes time."""
    layer = {
        "attn_norm": np.ones(_WIDTH, np.float32),
        "ffn_norm": np.ones(_WIDTH, np.float32),
        "attn_q": _normal(random, _WIDTH, _WIDTH, 0.1),
        "attn_k": _normal(random, _WIDTH, _WIDTH, 0.1),
        "attn_v": _normal(random, _WIDTH, _WIDTH, attention),
        "attn_output": _normal(random, _WIDTH, _WIDTH, attention),
        "ffn_gate": _normal(random, _FEED_FORWARD, _WIDTH, feed_forward),
        "ffn_up": _normal(random, _FEED_FORWARD, _WIDTH, feed_forward),
        "ffn_down": _normal(random, _WIDTH, _FEED_FORWARD, feed_forward),
    }
    layer["attn_v"][:, _CONSTANT] = 0.0
    layer["attn_output"][_CONSTANT] = 0.0
    layer["ffn_down"][_CONSTANT] = 0.0
    return {f"blk.{index}.{name}.weight": weights for name, weights in layer.items()}


def _llama_vocabulary() -> tuple[list[str], list[gguf.TokenType], list[float]]:
    words = [f"▁{onset}{rime}" for onset in _ONSETS for rime in _RIMES]
    control = ["<unk>", "<s>", "</s>"]
    single_bytes = [f"<0x{value:02X}>" for value in range(256)]
    pieces = [*_PUNCTUATION, *words]
    types = [
        gguf.TokenType.UNKNOWN,
        gguf.TokenType.CONTROL,
        gguf.TokenType.CONTROL,
        *[gguf.TokenType.BYTE] * len(single_bytes),
        *[gguf.TokenType.NORMAL] * len(pieces),
    ]
    tokens = [*control, *single_bytes, *pieces]
    return tokens, types, [0.0] * len(tokens)


def _circle_of_words(
    random: np.random.Generator, tokens: list[str], types: list[gguf.TokenType]
) -> tuple[Weights, Weights]:
    """Return embeddings and output weights with which each word is followed by the next of a cycle."""
    embeddings = _normal(random, len(tokens), _WIDTH, 1.0)
    embeddings[:, _CONSTANT] = 1.0
    spoken = [index for index, kind in enumerate(types) if kind is gguf.TokenType.NORMAL]
    circle = random.permutation(spoken)
    output = np.zeros_like(embeddings)
    output[:, _CONSTANT] = -_SILENCE
    for current, following in zip(circle, np.roll(circle, -1), strict=True):
        output[following] = _SUCCESSOR_PULL * embeddings[current] / np.sqrt(_WIDTH)
        output[following, _CONSTANT] = 0.0
    return embeddings, output


def _write_nomic_bert(path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'-()"
    # In GGUF a token at the start of a word has a prefix, and one inside a word does not.
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *[f"▁{letter}" for letter in letters], *letters]
    writer = gguf.GGUFWriter(path, "nomic-bert")
    writer.add_context_length(EMBEDDING_CONTEXT_LENGTH)
    writer.add_embedding_length(EMBEDDING_WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(12)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_rope_freq_base(1000.0)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types([*[gguf.TokenType.CONTROL] * 5, *[gguf.TokenType.NORMAL] * (len(tokens) - 5)])
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_uint32("tokenizer.ggml.cls_token_id", 2)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_eos_token_id(3)
    writer.add_mask_token_id(4)

    width = EMBEDDING_WIDTH
    tensors = {
        "token_embd.weight": _normal(random, len(tokens), width, 1.0),
        "token_types.weight": _normal(random, 2, width, 0.1),
        "blk.0.attn_qkv.weight": _normal(random, 3 * width, width, 0.05),
        "blk.0.attn_output.weight": _normal(random, width, width, 0.05),
        "blk.0.ffn_gate.weight": _normal(random, _FEED_FORWARD, width, 0.05),
        "blk.0.ffn_up.weight": _normal(random, _FEED_FORWARD, width, 0.05),
        "blk.0.ffn_down.weight": _normal(random, width, _FEED_FORWARD, 0.05),
    }
    for norm in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        tensors[f"{norm}.weight"] = np.ones(width, np.float32)
        tensors[f"{norm}.bias"] = np.zeros(width, np.float32)
    for name, weights in tensors.items():
        writer.add_tensor(name, weights)
    _close(writer)


def _normal(random: np.random.Generator, rows: int, columns: int, scale: float) -> Weights:
    return (random.standard_normal((rows, columns)) * scale).astype(np.float32)


def _close(writer: gguf.GGUFWriter) -> None:
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


DEFAULT = TinyModel("gpt-oss", seed=1, write=_write_slow_llama, template=_LLAMA_TEMPLATE)
QUALITY = TinyModel("llama3.1", seed=2, write=_write_fast_llama, template=_LLAMA_TEMPLATE)
EMBEDDING = TinyModel("nomic-embed-text", seed=3, write=_write_nomic_bert)
UNLOADABLE = TinyModel("does-not-load", seed=4, write=_write_unloadable_llama, template=_LLAMA_TEMPLATE)
TINY_MODELS = (DEFAULT, QUALITY, EMBEDDING)
