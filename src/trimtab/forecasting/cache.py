"""Traces kept between calls: the same workload, config and versions are traced once. Takes and gives plain data. No
torch."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from trimtab.datasets.assets import cache_folder
from trimtab.datasets.columns import split_name
from trimtab.spec.files import write_whole
from trimtab.spec.workload import Workload

FORMAT = 5  # of what is stored; raised when the trace's meaning changes
# What decides a trace. Everything else in a workload (devices, epochs, examples) is arithmetic on top.
IRRELEVANT = {
    "devices",
    "sharding",
    "offload",
    "examples",
    "num_train_epochs",
    "max_steps",
    "mean_length",
    "max_new_tokens",
    "model",
}


@cache
def versions() -> dict[str, str]:
    """Library versions that decide what is allocated."""
    installed = {}
    for package in ("torch", "transformers", "peft", "trimtab"):
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def key(w: Workload, config: dict[str, Any]) -> str:
    """Of a trace: everything that its bytes depend on, versions included."""
    content = [FORMAT, w.model_dump(mode="json", exclude=IRRELEVANT), config, versions()]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:20]


def of_files(*names: str) -> str:
    """A key that changes with the files behind these names (files, folders, or anything else by its name) and with
    versions."""
    marks: list[Any] = [names, versions()]
    for place in (Path(split_name(name)[0]).expanduser() for name in names if name):
        files = sorted(place.rglob("*")) if place.is_dir() else [place] if place.is_file() else []
        marks += [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(repr(marks).encode()).hexdigest()[:20]


def load(name: str) -> dict[str, Any] | None:
    """None where nothing is kept, or it cannot be read."""
    try:
        kept = json.loads((_folder() / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) else None


def save(name: str, value: dict[str, Any]) -> None:
    """Whole or not at all; a cache that cannot be written is no reason to fail."""
    try:
        write_whole(_folder() / f"{name}.json", json.dumps(value))
    except OSError:
        return


def _folder() -> Path:
    return cache_folder() / "forecast"
