"""One run of the study's grid as a process of its own: `study_side.py trainer|trimtab OUT RATE BATCH EPOCHS`. Timed
from outside by study.py."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path


def trimtab(out: Path, rate: float, batch: int, epochs: float) -> None:
    import trimtab
    from study_grid import data, recipe

    with tempfile.TemporaryDirectory() as scratch:
        made = recipe(data(out), {"learning_rate": rate, "effective_batch": batch, "num_train_epochs": epochs}, 1)
        trimtab.train(made, out=scratch)


def trainer(out: Path, rate: float, batch: int, epochs: float) -> None:
    """As the libraries' own pages do it: PEFT on all linear layers, dynamic padding, bf16 where fast, four
    evaluations."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainingArguments

    from study_grid import data
    from trimtab.datasets.prepare import load, tokenise_dataset
    from trimtab.run import machine
    from trimtab.tasks import pretrained as models

    here = machine.look()
    torch.set_num_threads(here.threads)
    tokenizer = models.load_tokenizer("bundled:smollm2")
    rows = tokenise_dataset(load(str(data(out))), tokenizer, 128).splits
    model = models.load_model("bundled:smollm2", torch.bfloat16 if here.bf16 else torch.float32, "cpu")
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"))

    def collate(batch_rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(r["input_ids"]) for r in batch_rows)
        pad = {"input_ids": tokenizer.pad_token_id or 0, "labels": -100, "attention_mask": 0}
        return {k: torch.tensor([r[k] + [v] * (width - len(r[k])) for r in batch_rows]) for k, v in pad.items()}

    def plain(split: str) -> list[dict[str, list[int]]]:
        return [
            {
                "input_ids": list(t.ids),
                "labels": [i if m else -100 for i, m in zip(t.ids, t.labelled, strict=True)],
                "attention_mask": [1] * len(t.ids),
            }
            for t in rows[split]
        ]

    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            scratch,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=batch // 4,
            learning_rate=rate,
            num_train_epochs=epochs,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            eval_strategy="steps",
            eval_steps=0.25,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=here.bf16,
            disable_tqdm=True,
            per_device_eval_batch_size=16,
            remove_unused_columns=False,
        )
        made = Trainer(
            model, arguments, train_dataset=plain("train"), eval_dataset=plain("validation"), data_collator=collate
        )
        made.train()
        print(json.dumps(made.evaluate()))


if __name__ == "__main__":
    side, out, rate, batch, epochs = sys.argv[1:]
    {"trainer": trainer, "trimtab": trimtab}[side](Path(out), float(rate), int(float(batch)), float(epochs))
