"""The ladder of remedies -> one HTML file, its data as JSON, and its pictures as SVG and PNG. Takes plain data, writes
atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimtab.reporting import standalone
from trimtab.reporting.ladder_parts import parts
from trimtab.reporting.page import environment
from trimtab.spec.files import write_whole


def write_inside(result: Mapping[str, Any], folder: Path) -> Path:
    """folder/report.html, report.json and pictures/NAME.svg, .png."""
    ladder = parts(result)
    page = environment().get_template("inside.html").render(s=result, ladder=ladder)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for name, picture in ladder["pictures"].items():
        write_whole(folder / "pictures" / f"{name}.svg", standalone.svg(picture).encode())
        write_whole(folder / "pictures" / f"{name}.png", standalone.png(picture))
    write_whole(folder / "report.json", json.dumps(result, indent=1, ensure_ascii=False).encode())
    write_whole(folder / "report.html", page.encode())
    return folder / "report.html"
