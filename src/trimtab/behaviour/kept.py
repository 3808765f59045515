"""What a base said before: kept by content, so that every pulse and card of a study, and of the next one, shares it.
Takes a model and what it is asked, gives what it said.

What the bundled model says to the English card comes with the package (base_says.zip, made by bench/base_says.py):
by the same names, so that other weights, another template, precision or question never meet it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from trimtab.behaviour.answering import EvaluatedModel
from trimtab.spec.files import write_whole


def is_known(keep: Path, name: str, who: str, content: Any) -> bool:
    """Whether it would be looked up."""
    file = _file(name, who, content)
    return (keep / file).exists() or file in shipped()


KEEP = "base-says"  # in the cache folder
SHIPPED = Path(__file__).with_name("base_says.zip")


def remembered(keep: Path | None, name: str, who: str, content: Any, ask: Callable[[], Any]) -> Any:
    """What `who` answered before to the same, from the folder `keep` or the package; else it is asked and kept."""
    if keep is None:
        return ask()
    place = keep / _file(name, who, content)
    if place.exists():
        return json.loads(place.read_text(encoding="utf-8"))
    if (known := shipped().get(place.name)) is not None:
        return json.loads(known)
    kept = ask()
    write_whole(place, json.dumps(kept))
    return kept


@cache
def shipped() -> dict[str, bytes]:
    """The package's own, by file name; nothing where it has none."""
    if not SHIPPED.exists():
        return {}
    with zipfile.ZipFile(SHIPPED) as file:
        return {name: file.read(name) for name in file.namelist()}


def identity(evaluated: EvaluatedModel) -> str:
    """Tells models apart by some of each weight, precision and template: a changed model never meets another's
    answers."""
    model, tokenizer = evaluated.base.model, evaluated.base.tokenizer
    return digest_of(model, tokenizer.chat_template)


def digest_of(model: torch.nn.Module, *more: Any) -> str:
    """Over some of each weight, precision and whatever else tells it apart."""
    digest = hashlib.sha256(repr((str(next(model.parameters()).dtype), *more)).encode())
    for parameter in model.parameters():
        part = parameter.detach().flatten()
        digest.update(repr(tuple(parameter.shape)).encode())
        digest.update(part[:: max(1, part.numel() // 64)][:64].to(torch.float32).cpu().numpy().tobytes())
    return digest.hexdigest()


def _file(name: str, who: str, content: Any) -> str:
    return f"{name}-{_hash(who, content)}.json"


def _hash(who: str, content: Any) -> str:
    return hashlib.sha256(f"{who} {content!r}".encode()).hexdigest()[:16]
