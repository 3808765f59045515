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
def pictures_folder(tmp_path_factory) -> Path:
    """A folder for each of three labels, of 24 small pictures: a bright square above, in the middle, or below."""
    import random

    from PIL import Image

    folder, rng = tmp_path_factory.mktemp("pictures"), random.Random(0)
    for place, label in enumerate(("above", "below", "middle")):
        (folder / label).mkdir()
        for i in range(24):
            image = Image.new("RGB", (20, 16), tuple(rng.randrange(0, 90) for _ in range(3)))
            top = (0, 11, 5)[place]
            image.paste(tuple(rng.randrange(150, 255) for _ in range(3)), (rng.randrange(12), top, 19, top + 5))
            image.save(folder / label / f"{i}.{'jpg' if i % 2 else 'png'}")
    return folder


def tiny_network(folder: Path, kind: str, side: int = 16) -> str:
    """A random network of this architecture, for pictures of 16 × 16."""
    import torch
    from transformers import AutoConfig, AutoModelForImageClassification, ViTImageProcessorPil

    small = {
        "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "layer_type": "basic"},
        "vit": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32,
                "image_size": side, "patch_size": 4},
        "swin": {"image_size": side, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2],
                 "window_size": 4},
        "convnext": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "patch_size": 2},
        "small-net": {"network": "squeezenet1_1", "image_size": side},
    }[kind]  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForImageClassification.from_config(AutoConfig.for_model(kind, **small))
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": side, "width": side}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.25, 0.3])\
        .save_pretrained(folder)  # fmt: skip
    return str(folder)


@pytest.fixture(scope="session")
def tiny_resnet(tmp_path_factory) -> str:
    return tiny_network(tmp_path_factory.mktemp("resnet"), "resnet")


@pytest.fixture(scope="session")
def tiny_vit(tmp_path_factory) -> str:
    return tiny_network(tmp_path_factory.mktemp("vit"), "vit")


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
