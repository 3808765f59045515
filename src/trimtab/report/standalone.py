"""A page's picture as a file of its own: SVG with its colours inside, and PNG. Takes SVG text, gives text and bytes."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import resvg_py

ZOOM = 2.0  # pixels for each of the picture's units: sharp on paper and in slides


def svg(picture: str) -> str:
    """With its styles: a viewer has no page to take them from."""
    head, body = picture.split(">", 1)
    return f"{head}><style>{_styles()}</style>{body}"


def png(picture: str) -> bytes:
    return bytes(
        resvg_py.svg_to_bytes(svg_string=svg(picture), background="white", zoom=ZOOM, font_family="DejaVu Sans")
    )


@cache
def _styles() -> str:
    """The light colours of the page's style sheet, written out."""
    text = (files("trimtab.report") / "picture.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w]+):(#[0-9a-f]+)", text))
    rules = text.split("}", 1)[1]
    return re.sub(r"var\(--(\w+)\)", lambda m: colours[m.group(1)], rules)
