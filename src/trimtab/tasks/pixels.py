"""Pictures -> numbers: decoded in threads, kept as far as there is room, varied anew each time they are trained on.
Takes items, gives batches.

The library for the pixel work is kornia: it works on batches of tensors, on a card too, and its wheel needs no
compiled vision library. What is done to a picture is drawn here, from the item's own seed: the same whoever trains
beside it and after a restart.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from trimtab.datasets.picture_items import Seen, Varied
from trimtab.datasets.picture_look import opened, resized
from trimtab.errors import DataError

ROOM = 2**30  # bytes of decoded pictures that are kept: 38,000 of 96 pixels a side
Key = tuple[Any, ...]


class Pixels:
    """`resample`: as the model's own processor resizes, a number of Pillow's."""

    def __init__(self, resample: int = 2, room: int = ROOM):
        self.resample, self.room = resample, room
        self._kept: OrderedDict[Key, torch.Tensor] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def of(self, items: Sequence[Seen]) -> torch.Tensor:
        """[rows, 3, side, side], 0 to 1. DataError where a file is gone or broken since it was read."""
        if all(i.picture is None for i in items):  # a forecast
            return torch.zeros(len(items), 3, items[0].size, items[0].size)
        self._pool = self._pool or ThreadPoolExecutor(min(8, os.cpu_count() or 1))
        made = torch.stack([*self._pool.map(self._one, items)]).float() / 255
        return varied(made, [i.varied for i in items])

    def _one(self, item: Seen) -> torch.Tensor:
        picture = item.picture
        assert picture is not None
        key = (picture.digest, picture.change, item.size)
        with self._lock:
            if (kept := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return kept
        try:
            image = resized(opened(picture.read()), item.size, picture.change, self.resample)
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"{picture.name} cannot be read any more ({error}); put it back, and start again") from None
        pixels = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())
        with self._lock:
            self._keep(key, pixels)
        return pixels

    def _keep(self, key: Key, pixels: torch.Tensor) -> None:
        if key in self._kept:
            return
        self._kept[key] = pixels
        self._bytes += pixels.numel()
        while self._bytes > self.room and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].numel()


def mixed_pixels(pixels: Pixels, items: Sequence[Seen]) -> torch.Tensor:
    """As `Pixels.of`, each blended with or partly filled by the one that it is mixed with."""
    made, places = pixels.of(items), [i for i, item in enumerate(items) if item.mixed]
    if not places:
        return made
    others = pixels.of([items[i].mixed.other for i in places])  # type: ignore[union-attr]
    for i, other in zip(places, others, strict=True):
        how = items[i].mixed
        assert how is not None
        if how.box is None:
            made[i] = how.share * made[i] + (1 - how.share) * other
        else:
            top, left, bottom, right = how.box
            made[i, :, top:bottom, left:right] = other[:, top:bottom, left:right]
    return made


def varied(pixels: torch.Tensor, how: Sequence[Varied | None]) -> torch.Tensor:
    """Rows shifted by up to `random_crop` of the side, mirrored half of the time, their brightness, contrast and
    colours changed by up to `color_jitter`."""
    if not any(how):
        return pixels
    from kornia.enhance import adjust_brightness, adjust_contrast_with_mean_subtraction, adjust_saturation
    from kornia.geometry.transform import translate

    drawn = torch.stack([_draws(v) for v in how])
    crop, jitter = (torch.tensor([getattr(v, k, 0.0) for v in how]) for k in ("random_crop", "color_jitter"))
    flip = torch.tensor([bool(v and v.random_flip) for v in how]) & (drawn[:, 2] > 0)
    if bool(crop.any()):
        side = pixels.shape[-1]
        moved = torch.round(drawn[:, :2] * crop[:, None] * side)  # whole pixels: nothing is blurred
        pixels = translate(pixels, moved, mode="nearest", padding_mode="zeros", align_corners=True)
    pixels = torch.where(flip[:, None, None, None], pixels.flip(-1), pixels)
    if bool(jitter.any()):
        factors = 1 + drawn[:, 3:6] * jitter[:, None]
        pixels = adjust_brightness(pixels, factors[:, 0] - 1)
        pixels = adjust_contrast_with_mean_subtraction(pixels, factors[:, 1])
        pixels = adjust_saturation(pixels, factors[:, 2])
    return pixels


def _draws(how: Varied | None) -> torch.Tensor:
    """Six numbers from −1 to 1."""
    if how is None:
        return torch.zeros(6)
    return torch.rand(6, generator=torch.Generator().manual_seed(how.draw)) * 2 - 1
