"""The examples' results as pages of docs/examples/: nothing is measured here."""

from __future__ import annotations

from pathlib import Path

SHOWN = (
    "learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "r", "lora_alpha",
    "max_length", "lr_scheduler_type", "warmup_steps", "weight_decay",
)  # fmt: skip


def write(results: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
