"""The articles' scripts as written, with the model and data of this machine in place of theirs: what trimtab is held
beside. Nothing of trimtab trains here.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from trimtab.spec.recipe import Recipe


def sentiment(files: dict[str, Path], seed: int, out: Path) -> dict[str, Any]:
    """transformers' Trainer: all texts padded to 128, rate 2e-5, batch 2, 3 epochs, evaluated and saved each epoch, the
    best by F1 restored."""
    from sklearn.metrics import f1_score
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

    from trimtab.tasks.pretrained import resolve  # where the bundled weights lie

    began, model_name = time.monotonic(), resolve("bundled:smollm2")
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(model_name)
    tokenizer.pad_token = tokenizer.eos_token
    model = AutoModelForSequenceClassification.from_pretrained(model_name, num_labels=2, dtype=torch.float32)
    model.config.pad_token_id = tokenizer.pad_token_id
    rows = {s: [json.loads(x) for x in f.read_text("utf-8").splitlines()] for s, f in files.items()}
    names = sorted({r["label"] for r in rows["train"]})

    def encoded(some: list[dict[str, str]]) -> list[dict[str, Any]]:
        made = tokenizer([r["text"] for r in some], truncation=True, padding="max_length", max_length=128)
        return [
            {"input_ids": i, "attention_mask": m, "labels": names.index(r["label"])}
            for i, m, r in zip(made["input_ids"], made["attention_mask"], some, strict=True)
        ]

    arguments = TrainingArguments(
        output_dir=str(out / f"written-{seed}"), learning_rate=2e-5, per_device_train_batch_size=2,
        per_device_eval_batch_size=2, num_train_epochs=3, weight_decay=0.01, eval_strategy="epoch",
        save_strategy="epoch", save_total_limit=1, load_best_model_at_end=True, metric_for_best_model="f1", seed=seed,
        report_to=[], use_cpu=True, bf16=torch.backends.mkldnn.is_available() and _bf16(), disable_tqdm=True,
    )  # fmt: skip
    score = lambda p: {"f1": f1_score(p.label_ids, p.predictions.argmax(-1), average="macro")}  # noqa: E731
    trainer = Trainer(
        model=model, args=arguments, train_dataset=encoded(rows["train"]), eval_dataset=encoded(rows["validation"]),
        compute_metrics=score,
    )  # fmt: skip
    trained = time.monotonic()
    trainer.train()
    loop = time.monotonic() - trained
    seconds = time.monotonic() - began
    picks = trainer.predict(encoded(rows["test"])).predictions.argmax(-1)
    return {"seconds": seconds, "loop": loop, "picks": [names[i] for i in picks]}


def texts(model_name: str, data: str, seed: int, out: Path) -> dict[str, Any]:
    """transformers' Trainer as it comes: rate 5e-5, batch 8, three epochs, padded to the longest of a batch."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    from trimtab.datasets.prepare import load
    from trimtab.tasks.pretrained import resolve

    torch.manual_seed(seed)
    place, read = resolve(model_name), load(data, say=lambda _text: None).examples
    names = sorted({e.answer for e in read["train"]})
    tokenizer = AutoTokenizer.from_pretrained(place)
    model = AutoModelForSequenceClassification.from_pretrained(place, num_labels=len(names), dtype=torch.float32)

    def encoded(split: str) -> list[dict[str, Any]]:
        some = read[split]
        made = tokenizer([e.prompt[-1]["content"] for e in some], truncation=True)["input_ids"]
        return [{"input_ids": ids, "labels": names.index(e.answer)} for ids, e in zip(made, some, strict=True)]

    arguments = TrainingArguments(
        output_dir=str(out / f"plain-{seed}"),
        seed=seed,
        report_to=[],
        use_cpu=True,
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model, args=arguments, train_dataset=encoded("train"), data_collator=DataCollatorWithPadding(tokenizer)
    )
    began = time.monotonic()
    trainer.train()
    loop, test = time.monotonic() - began, encoded("test")
    picks = trainer.predict(test).predictions.argmax(-1)
    return {"loop": loop, "right": [float(p == r["labels"]) for p, r in zip(picks, test, strict=True)]}


def _bf16() -> bool:
    from trimtab.run import machine

    return machine.look().bf16


def images(recipe: Recipe, seed: int) -> dict[str, Any]:
    """A plain PyTorch loop: crop and flip, AdamW with two rates, cosine annealing, patience on validation accuracy, the
    best kept; batch norms in training mode, a head of random values."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    from trimtab.datasets.picture_look import opened
    from trimtab.datasets.pictures import load
    from trimtab.tasks.pretrained import resolve

    torch.manual_seed(seed)
    place, side = resolve(recipe.model), recipe.max_length
    prepare = AutoImageProcessor.from_pretrained(place)
    read = load(recipe.data, lambda _text: None).examples
    names = sorted({p.answer for p in read["train"]})
    model = AutoModelForImageClassification.from_pretrained(place, num_labels=len(names))
    pixels, labels = {}, {}
    for split, some in read.items():
        pictures = [opened(p.read()) for p in some]
        size = {"height": side, "width": side}
        pixels[split] = prepare(images=pictures, size=size, return_tensors="pt")["pixel_values"]
        labels[split] = torch.tensor([names.index(p.answer) for p in some])
    head = {id(p) for p in model.classifier.parameters()}
    groups = [
        {"params": [p for p in model.parameters() if id(p) not in head], "lr": recipe.learning_rate},
        {"params": [*model.classifier.parameters()], "lr": recipe.head_learning_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    epochs, batch = int(recipe.num_train_epochs), recipe.per_device_train_batch_size
    annealed = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    best, since, kept, began = -1.0, 0, {}, time.monotonic()
    for _ in range(epochs):
        model.train()
        for some in torch.randperm(len(labels["train"])).split(batch):
            x = _varied(pixels["train"][some], round(recipe.random_crop * side))
            loss = nn.functional.cross_entropy(model(pixel_values=x).logits, labels["train"][some])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        annealed.step()
        right = float(np.mean(_right(model, pixels["validation"], labels["validation"])))
        since = 0 if right > best else since + 1
        if right > best:
            best, kept = right, {k: v.clone() for k, v in model.state_dict().items()}
        if since >= recipe.early_stopping_patience:
            break
    loop = time.monotonic() - began
    model.load_state_dict(kept)
    return {"loop": loop, "right": _right(model, pixels["test"], labels["test"])}


def _varied(x: torch.Tensor, pad: int) -> torch.Tensor:
    side, made = x.shape[-1], []
    for one in F.pad(x, (pad,) * 4):
        top, left = torch.randint(0, 2 * pad + 1, (2,)).tolist()
        cut = one[:, top : top + side, left : left + side]
        made.append(cut.flip(-1) if torch.rand(()) < 0.5 else cut)
    return torch.stack(made)


@torch.no_grad()
def _right(model: nn.Module, pixels: torch.Tensor, labels: torch.Tensor) -> list[float]:
    model.eval()
    picks = torch.cat([model(pixel_values=some).logits.argmax(-1) for some in pixels.split(64)])
    return (picks == labels).float().tolist()
