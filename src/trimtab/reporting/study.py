"""A study -> one HTML file that needs no network, its data as JSON, and each picture as SVG and PNG. Takes gathered
data; writes atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimtab.reporting import standalone, study_pictures
from trimtab.reporting.page import environment
from trimtab.spec.files import write_whole

TITLES = {
    "front": "Loss against drift",
    "parallel-coordinates": "Every run through its settings",
    "curves": "Over the run",
    "heat-map": "Which setting moved which number",
    "against-the-baseline": "Against the baseline",
    "steps": "The steps",
}

CAPTIONS = {
    "scan": (
        "A bar is the 95 % interval of the difference from the baseline, green where it is better, red where it is"
        " worse."
    ),
    "front": (
        "Left and low is better. A run on the line is beaten by no other in both; a hollow one is outside the budget."
    ),
    "parallel-coordinates": "A line is a run; the stronger, the lower its loss. The best inside the budget is orange.",
    "against-the-baseline": "95 % over seeds and items; several claims corrected by Holm.",
    "steps": "Each step from where the last one ended; green lowers the loss, red raises it, amber cannot be told.",
    "curves": "A line is the mean over seeds, its band goes from the lowest to the highest seed.",
}


def write_study(result: Mapping[str, Any], evidence: Mapping[str, Any], folder: Path) -> Path:
    """folder/report.html, report.json and pictures/NAME.svg, .png; `evidence` as tuning/study_evidence.py gives it."""
    drawn = study_pictures.pictures(result, evidence)
    titles = {k: TITLES.get(k, f"By {k.removeprefix('scan-')}") for k in drawn}
    captions = {k: CAPTIONS.get("scan" if k.startswith("scan-") else k, "") for k in drawn}
    ranked = sorted(result.get("trials", ()), key=lambda t: (t["loss"] is None, t["loss"] or 0.0))
    page = (
        environment()
        .get_template("study.html")
        .render(
            s=result,
            e=evidence,
            pictures=drawn,
            titles=titles,
            captions=captions,
            ranked=ranked,
            states=study_pictures.STATE,
        )
    )
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    for name, picture in drawn.items():
        write_whole(folder / "pictures" / f"{name}.svg", standalone.svg(picture).encode())
        write_whole(folder / "pictures" / f"{name}.png", standalone.png(picture))
    write_whole(folder / "report.json", json.dumps({**result, **evidence}, indent=1, ensure_ascii=False).encode())
    write_whole(folder / "report.html", page.encode())
    return folder / "report.html"
