"""One picture, opened: as red, green and blue, or why it cannot be. Takes encoded bytes or a file."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

if TYPE_CHECKING:
    from trimtab.datasets.picture_sources import Picture

MOST_PIXELS = 60_000_000  # of one picture: a file of a few kilobytes can say that it is larger than any memory


@dataclass(frozen=True)
class Look:
    digest: str = ""
    look: str = ""
    width: int = 0
    height: int = 0
    problem: str | None = None


def look(picture: Picture) -> Look:
    """Opened whole: a file that ends too early shows it only there."""
    try:
        content = picture.read()
        seen = opened(content)
    except (OSError, ValueError, SyntaxError, MemoryError) as error:
        return Look(problem=_why(error, picture))
    return Look(hashlib.sha256(content).hexdigest()[:16], _hash(seen), *seen.size)


def opened(content: bytes) -> Image.Image:
    """Red, green and blue; turned as the camera was held; what is transparent lies on white. ValueError or OSError
    where it cannot be read."""
    if not content:
        raise ValueError("zero bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large pictures, which are counted here
        image: Any = Image.open(io.BytesIO(content))
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} × {image.height} pixels, above {MOST_PIXELS / 1e6:.0f} million")
        image = ImageOps.exif_transpose(image)
        if image.mode in ("I", "I;16", "I;16B", "F"):
            image = _eight_bits(image)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return image.convert("RGB")


def resized(image: Image.Image, side: int, change: str = "", resample: int = 2) -> Image.Image:
    """A square of so many pixels, through one of picture_sources.CHANGES: they change as little as a second photograph
    would."""
    made = image.resize((side, side), Image.Resampling(resample))
    if change == "shifted":  # by a sixteenth, the border filled as the corner is
        step = max(1, side // 16)
        return made.transform(
            made.size, Image.Transform.AFFINE, (1, 0, step, 0, 1, step), fillcolor=made.getpixel((0, 0))
        )
    if change in ("brighter", "darker"):
        return ImageEnhance.Brightness(made).enhance(1.2 if change == "brighter" else 0.8)
    if change == "blurred":
        return made.filter(ImageFilter.GaussianBlur(side / 96))
    if change == "compressed":
        out = io.BytesIO()
        made.save(out, "jpeg", quality=40)
        return Image.open(out).convert("RGB")
    return made


def _eight_bits(image: Any) -> Any:
    """Of deeper shades of grey, from the darkest to the lightest."""
    import numpy as np

    values = np.asarray(image, dtype=np.float64)
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) / max(high - low, 1e-12) * 255).astype(np.uint8))


def _hash(image: Image.Image) -> str:
    """The mean colours of 8 × 8 fields, in hexadecimal digits: a copy in another size or format keeps them nearly."""
    return image.resize((8, 8), Image.Resampling.BOX).tobytes().hex()


def _why(error: Exception, picture: Picture) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, FileNotFoundError):
        return "is not there"
    return "not a picture" if "cannot identify image" in text else text.replace(picture.name, "the file")[:100]
