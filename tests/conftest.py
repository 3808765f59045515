"""Shared parts: the tiny model, a small data set, one loaded base. Real ones; only the coach meets a fake trainer."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.servers import any_store, server, server_url  # noqa: F401

settings.register_profile("trimtab", deadline=None, max_examples=40)  # two noisy cores: never judge by time
settings.load_profile("trimtab")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test may depend on a hub
os.environ["COLUMNS"] = "200"


@pytest.fixture(scope="session")
def tiny_tokenizer():
    from trimtab.tasks.pretrained import load_tokenizer

    return load_tokenizer("bundled:tiny")


def make_rows(n: int) -> list[dict[str, str]]:
    """Prompts and answers of different lengths, no two alike."""
    things = ["lamp", "door", "kettle", "window", "radio", "heater", "garden gate", "old clock"]
    return [
        {"prompt": f"{'Please ' if i % 2 else ''}switch {things[i % 8]} number {i * 37} {'on' if i % 3 else 'off now'}",
         "completion": f"{things[i % 8]} {i * 37}" + " done" * (i % 5)}
        for i in range(n)
    ]  # fmt: skip


@pytest.fixture(scope="session")
def small_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "small.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in make_rows(60)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory) -> str:
    """A folder with two random layers of BERT and MiniLM's tokenizer: a sentence encoder by its architecture."""
    import torch
    from transformers import BertConfig, BertModel

    from trimtab.tasks.pretrained import load_tokenizer

    folder, tokenizer = tmp_path_factory.mktemp("encoder"), load_tokenizer("bundled:minilm")
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(tokenizer), **small)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def labelled_file(tmp_path_factory) -> Path:
    """Three labels that one word tells, in sentences of different lengths."""
    things = {"colour": ["red", "blue", "green", "grey"], "animal": ["cat", "dog", "horse", "owl"],
              "metal": ["iron", "gold", "tin", "zinc"]}  # fmt: skip
    rows = [
        {"text": f"{'well, ' * (i % 3)}i saw {words[i % 4]} in place {i * 7}", "label": label}
        for i in range(40)
        for label, words in things.items()
    ]
    path = tmp_path_factory.mktemp("labels") / "labelled.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small_data(small_file, tiny_tokenizer):
    from trimtab.datasets.prepare import load, tokenise_dataset

    return tokenise_dataset(load(str(small_file)), tiny_tokenizer, 64)


@pytest.fixture(scope="session")
def tiny_model():
    """Loaded once, and never touched: see tiny_base."""
    from trimtab.tasks.pretrained import load_model

    return load_model("bundled:tiny", "float32", "cpu")


@pytest.fixture
def tiny_base(tiny_model, tiny_tokenizer):
    """A copy of the model as a float32 base: cohorts leave their wrapping on it."""
    import copy

    import torch
    from accelerate import Accelerator

    from trimtab.tasks.language import LanguageBase

    torch.set_num_threads(1)
    return LanguageBase(copy.deepcopy(tiny_model), tiny_tokenizer, Accelerator(cpu=True))


@pytest.fixture(scope="session")
def recipe(small_file):
    from trimtab.spec.recipe import Recipe

    return Recipe(
        model="bundled:tiny", data=str(small_file), learning_rate=1e-3, r=4, lora_alpha=8, max_length=64, bf16=False,
        per_device_train_batch_size=4, num_train_epochs=1, eval_steps=0.5,
    )  # fmt: skip
