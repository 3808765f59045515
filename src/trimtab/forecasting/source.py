"""What a model's name stands for, without weights. Takes a name, gives the config and what the catalogue knows. No
torch.

Looked up in this order: bundled:NAME, a local folder or GGUF file, the catalogue, the hub's config.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimtab.errors import ModelError, TrimtabError
from trimtab.planning.catalogue import KnownModel, find_model, model_of_config, nearest_models
from trimtab.spec.recipe import Recipe
from trimtab.spec.words import ENCODERS

IMAGES = (
    "vit",
    "resnet",
    "convnext",
    "convnextv2",
    "swin",
    "swinv2",
    "deit",
    "beit",
    "dinov2",
    "mobilevit",
    "efficientnet",
    "small-net",
    "regnet",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilevitv2",
    "levit",
    "poolformer",
    "focalnet",
    "cvt",
    "dinov2_with_registers",
    "timm_wrapper",
)
BUNDLED = {"bundled:smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}


@dataclass(frozen=True)
class ModelSource:
    """`known` is None where the catalogue has no closed form for it."""

    name: str
    config: dict[str, Any]
    known: KnownModel | None

    @property
    def family(self) -> str:
        """config.json's model_type."""
        return str(self.config["model_type"])

    @property
    def task(self) -> str:
        if self.family in IMAGES:
            return "image-classification"
        return "text-classification" if self.family in ENCODERS else "sft"

    @property
    def positions(self) -> int | None:
        """Tokens that it can read, where it says so."""
        longest = self.config.get("max_position_embeddings") or self.config.get("n_positions")
        return longest - 2 if longest and "roberta" in self.family else longest  # two are its padding's


def locate(name: str, say: Any = print) -> ModelSource:
    """From the catalogue, a folder, a GGUF file or the hub, without weights. ModelError where none of them knows
    it."""
    if known := find_model(BUNDLED.get(name, name)):
        return ModelSource(name, known.config, known)
    if name.startswith("bundled:") or name.endswith(".gguf"):
        from trimtab.tasks.pretrained import resolve

        return _folder(name, Path(resolve(name, say)))
    path = Path(name).expanduser()
    if path.exists():
        return _folder(name, path)
    return _hub(name)


def task_by_model(name: str, say: Any = print) -> str | None:
    """By its architecture; None where nothing is known of it: whoever loads it says so."""
    try:
        return locate(name, say).task
    except TrimtabError:
        return None


def sized(recipe: Recipe, say: Any = print) -> Recipe:
    """With the size that a network takes pictures in, where a recipe for it gives none: the default is for texts."""
    if recipe.task != "image-classification" or "max_length" in recipe.model_fields_set:
        return recipe
    try:
        side = locate(recipe.model, say).config.get("image_size") or 224
    except TrimtabError:
        return recipe
    return recipe.but(max_length=side if isinstance(side, int) else side[0])


def _folder(name: str, path: Path) -> ModelSource:
    file = path / "config.json"
    if not file.is_file():
        raise ModelError(
            f"{name} has no config.json; MODEL comes first, then DATA: give a folder that save_pretrained wrote, a hub"
            " id or a catalogue name"
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({str(error)[:100]})") from None
    if not isinstance(config, dict) or not config.get("model_type"):
        raise ModelError(f"{file} names no model_type, so its architecture is not known")
    return ModelSource(name, config, model_of_config(name, config))


def _hub(name: str) -> ModelSource:
    near = nearest_models(name)
    hint = f"; the catalogue has {', '.join(near)}" if near else "; `trimtab forecast --models` lists the catalogue"
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(f'no model "{name}" is known: no folder, no catalogue name and no hub id{hint}')
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from trimtab.datasets import hub

    try:
        file = hf_hub_download(name, "config.json", local_files_only=not hub.reachable())
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = type(error).__name__ if hub.reachable() else "the hub cannot be reached"
        raise ModelError(
            f'"{name}" is not in the catalogue and its config.json could not be had ({reason}){hint}'
        ) from None
    return _folder(name, Path(file).parent)
