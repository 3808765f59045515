"""A page's picture as a file of its own: SVG with its colours inside, and PNG. Takes SVG text, gives text and bytes."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import resvg_py

ZOOM = 2.0  # pixels for each of the picture's units: sharp on paper and in slides
FONTS = ("DejaVu Sans", "Arial", "Helvetica", "Liberation Sans", "Noto Sans", "Segoe UI")


def svg(picture: str) -> str:
    """With its styles: a viewer has no page to take them from."""
    head, body = picture.split(">", 1)
    return f"{head}><style>{_styles()}</style>{body}"


def png(picture: str) -> bytes:
    """PNG bytes on white, two pixels a unit."""
    return _drawn(svg(picture), _font())


def _drawn(text: str, font: str) -> bytes:
    return bytes(resvg_py.svg_to_bytes(svg_string=text, background="white", zoom=ZOOM, sans_serif_family=font))


@cache
def _font() -> str:
    """The first of these that this machine has: of a family that is not there nothing at all is drawn."""
    letter = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><text y="15"'
        ' font-family="sans-serif">{}</text></svg>'
    )
    nothing = _drawn(letter.format(""), FONTS[0])
    return next((f for f in FONTS if _drawn(letter.format("a"), f) != nothing), FONTS[0])


@cache
def _styles() -> str:
    """The light colours of the page's style sheet, written out."""
    text = (files("trimtab.reporting") / "picture.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w]+):(#[0-9a-f]+)", text))
    rules = text.split("}", 1)[1]
    return re.sub(r"var\(--(\w+)\)", lambda m: colours[m.group(1)], rules)
