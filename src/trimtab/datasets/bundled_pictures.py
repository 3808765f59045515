"""Bundled pictures with labels: clothes (Fashion-MNIST), emoji in colour, handwritten digits. Takes a name, gives
encoded pictures by split, the same on every machine.

A sample of each, small enough that a whole study of a small network takes minutes on a processor.
"""

from __future__ import annotations

import gzip
import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from trimtab.datasets.assets import fetch

SIZES = {"train": 1000, "validation": 300, "test": 500}
CLOTHES = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "trainer", "bag", "ankle boot")
LEFT_OUT = ("Component", "Flags")  # skin tones alone; flags are told apart by nothing that other pictures have
Pair = tuple[bytes, str]  # an encoded picture, its label


def pictures_by_split(name: str, say: Callable[[str], None]) -> dict[str, list[Pair]]:
    """Copies taken out, shuffled, cut."""
    pairs = list(dict(PICTURES[name](say)).items())
    random.Random(0).shuffle(pairs)
    made, start = {}, 0
    for split, size in SIZES.items():
        made[split] = pairs[start : start + size]
        start += size
    return made


def _clothes(say: Callable[[str], None]) -> Iterator[Pair]:
    """idx files: a header of 16 and 8 bytes, then a byte a pixel and a byte a label."""
    folder = fetch("fashion-mnist", say)
    pixels = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    for i, label in enumerate(labels):
        yield _png(pixels[i * 784 : (i + 1) * 784], 28), CLOTHES[label]


def _emoji(say: Callable[[str], None]) -> Iterator[Pair]:
    folder = fetch("emoji", say)
    for row in json.loads((folder / "emoji.json").read_text("utf-8")):
        picture = folder / row["image"]
        if row["has_img_google"] and row["category"] not in LEFT_OUT and picture.exists():
            yield picture.read_bytes(), row["category"]


def _digits(_say: Callable[[str], None]) -> Iterator[Pair]:
    """scikit-learn's, of 8 × 8 pixels in 17 shades."""
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    for image, label in zip(digits.images, digits.target, strict=True):
        yield _png(bytes(int(v) * 15 for v in image.flatten()), 8), str(label)


def _png(pixels: Sequence[int] | bytes, side: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.frombytes("L", (side, side), bytes(pixels)).save(out, "png", compress_level=1)
    return out.getvalue()


PICTURES = {"fashion-mnist": _clothes, "emoji": _emoji, "digits": _digits}
