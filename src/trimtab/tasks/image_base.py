"""A network that sees, as a base that members share. Takes a model's name and labels, gives the network, what it makes
of a picture before its head, and how pictures are prepared for it.

A head for other labels is replaced by a linear one, which begins at the frozen probe (behaviour/frozen_probe.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageClassification, ViTImageProcessorPil

from trimtab.errors import ModelError, SpecError
from trimtab.spec.recipe import Recipe
from trimtab.tasks import bundled_nets
from trimtab.tasks import pretrained as models
from trimtab.tasks.classifier_base import ClassifierBase, with_head
from trimtab.tasks.pixels import Pixels
from trimtab.tasks.task import Learning, Say

BILINEAR = 2  # Pillow's number
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and spread of its pictures, 0 to 1


class ImageBase(ClassifierBase):
    """`mean`, `spread` of each colour, 0 to 1: what the network takes is measured from these. `pixels` decodes.
    `larger`: what it is told besides where pictures have another size than it was made for; `side` in pixels: of the
    runs that are under way."""

    def __init__(
        self,
        learning: Learning,
        model: Any,
        processor: Any,
        accelerator: Accelerator,
        labels: Sequence[str],
        drawn: Sequence[str],
    ):
        super().__init__(learning, model, processor, accelerator, labels, drawn)
        self.mean, self.spread = spread_of(processor)
        self.side = self.usual = side_of(processor)
        self._taken = set[int]()
        resample = getattr(processor, "resample", None)
        self.pixels = Pixels(BILINEAR if resample is None else int(resample))
        takes = inspect.signature(model.forward).parameters
        self.larger = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}
        self.last = next((n for n in reversed([*self.linears()])), None)

    def linears(self) -> dict[str, nn.Linear]:
        """Of the head."""
        inside = {id(m) for m in self.body.modules()}
        return {n: m for n, m in self.model.named_modules() if isinstance(m, nn.Linear) and id(m) not in inside}

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    @property
    def probed(self) -> str | None:
        return self.last

    def begin(self, recipe: Recipe) -> None:
        if recipe.max_length not in self._taken:
            self._check_takes(recipe.max_length)
        self.side = recipe.max_length
        super().begin(recipe)

    @torch.no_grad()
    def _check_takes(self, side: int) -> None:
        """Networks halve a picture several times, or see it in patches: not every size is one that they can take."""
        try:
            self.logits(torch.zeros(1, 3, side, side, device=self.device))
        except (RuntimeError, ValueError) as error:
            why = str(error).strip().splitlines()[0][:120]
            raise SpecError(
                "max_length",
                [f"got {side} pixels a side, which this network does not take ({why}); give {self.usual}"],
            ) from None
        self._taken.add(side)

    def logits(self, pixels: torch.Tensor) -> torch.Tensor:
        """[rows, labels] of normalised pixels [rows, 3, side, side]."""
        usual = pixels.shape[-1] == getattr(self.model.config, "image_size", None)
        return self.model(pixel_values=pixels.to(self.dtype), **({} if usual else self.larger)).logits

    def train(self, on: bool) -> None:
        """The statistics of batch norms stay those of the pretrained network: taken from a few pictures they would
        depend on the micro-batch, and on who trains beside."""
        super().train(on)
        for module in self.model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()

    def seen(self, forward: Callable[[], torch.Tensor], _batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """States: what goes into the last linear layer of the head."""
        if self.last is None:
            raise ModelError("this network has no linear head, so what it sees cannot be read")
        caught = list[Any]()
        head = self.model.get_submodule(self.last)
        hook = head.register_forward_pre_hook(lambda _module, inputs: caught.append(inputs[0]))
        try:
            outputs = forward()
        finally:
            hook.remove()
        return outputs, caught[0].flatten(1).float()

    def save(self, folder: Path) -> None:
        if isinstance(self.model, bundled_nets.SmallNetForImageClassification):
            bundled_nets.save_code(self.model.config, folder)
        self.model.save_pretrained(folder)  # type: ignore[operator]
        self.save_processor(folder)

    def save_processor(self, folder: Path) -> None:
        """As pictures were prepared here: a square, nothing cut off."""
        bundled_nets.write_processor(folder, self.side, self.mean, self.spread, self.pixels.resample)


def spread_of(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, spread) by colour; ImageNet's where the processor names none, nothing where it says not to."""
    if getattr(processor, "do_normalize", True) is False:
        return (0.0,) * 3, (1.0,) * 3
    mean, spread = getattr(processor, "image_mean", None), getattr(processor, "image_std", None)
    return tuple(mean or IMAGENET[0]), tuple(spread or IMAGENET[1])


def side_of(processor: Any) -> int:
    """Pixels a side that the model was trained with."""
    for size in (getattr(processor, "crop_size", None), getattr(processor, "size", None)):
        named = dict(size) if size else {}
        for key in ("height", "shortest_edge", "longest_edge"):
            if named.get(key):
                return int(named[key])
    return 224


def load_image_base(
    learning: Learning,
    model: str,
    labels: Sequence[str],
    processor: Any,
    dtype: str,
    accelerator: Accelerator,
    say: Say,
) -> ImageBase:
    """ModelError where transformers has no image classifier of this architecture."""
    with models.clear_errors(model, "image classifier"):
        source = models.source(model, say)
        config = AutoConfig.from_pretrained(**source, trust_remote_code=False)
        kind = AutoModelForImageClassification
        loaded, drawn = with_head(kind, source, config, labels, dtype, lambda said: say(f"{model} {said}"))
    return ImageBase(learning, loaded.to(accelerator.device), processor, accelerator, labels, drawn)


def load_processor(model: str, say: Say) -> Any:
    """The model's own; where a folder has none, a square as its config says and ImageNet's colours."""
    with models.clear_errors(model, "image processor"):
        source = models.source(model, say)
        folder = Path(source["pretrained_model_name_or_path"])
        if folder.is_dir() and not (folder / "preprocessor_config.json").exists():
            side = getattr(AutoConfig.from_pretrained(folder), "image_size", None) or 224
            say(f"{model} does not say how it takes pictures: {side} pixels a side and ImageNet's colours are assumed")
            return ViTImageProcessorPil(
                size={"height": side, "width": side}, image_mean=IMAGENET[0], image_std=IMAGENET[1]
            )
        return AutoImageProcessor.from_pretrained(**source)
