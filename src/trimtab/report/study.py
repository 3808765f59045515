"""A designed study -> one HTML file that needs no network, and the same as JSON. Takes gathered data; writes atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimtab.report import study_pictures
from trimtab.report.page import environment


def write_study(found: Mapping[str, Any], attributed: Mapping[str, Any] | None, folder: Path) -> Path:
    """folder/report.html and report.json; `attributed` where there were runs enough."""
    rows = attributed["rows"] if attributed else []
    page = environment().get_template("study.html").render(
        s=found, rows=rows, forest=study_pictures.forest(found["cells"]), heat=study_pictures.heat_map(rows), states=study_pictures.STATE,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("report.json", json.dumps({**found, "attribution": rows}, indent=1, ensure_ascii=False)),
        ("report.html", page),
    ):
        scratch = folder / f".{name}.tmp"
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(folder / name)
    return folder / "report.html"
