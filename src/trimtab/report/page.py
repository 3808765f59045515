"""Gathered data -> one HTML file that needs no network. Takes data, gives text; writes atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from trimtab.report import card_parts, draw, pictures
from trimtab.report.gather import study_report
from trimtab.store import Store
from trimtab.tune.budgeting import in_words


def environment() -> Environment:
    """Templates and filters of every page."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    percent = lambda v: "–" if v is None else f"{v:.0%}"  # noqa: E731
    found.filters.update(number=_number, percent=percent, limit=_limit, duration=in_words)
    return found


def html(report: dict[str, Any]) -> str:
    shown = card_parts.parts(report["card"]["rows"], report["epochs"]) if report["card"] else {}
    page = environment().get_template("page.html")
    return page.render(r=report, curves=draw.curves, against=pictures.against, memory=draw.memory, **shown)


def write_report(store: Store, study: str, folder: Path) -> Path:
    """folder/report.html and the same as report.json; gives the page's path."""
    report = study_report(store, study)
    folder.mkdir(parents=True, exist_ok=True)
    put(folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False).encode())
    put(folder / "report.html", html(report).encode())
    return folder / "report.html"


def put(path: Path, content: bytes) -> None:
    """The whole file, or what was there before."""
    scratch = path.with_name(f".{path.name}.tmp")
    scratch.write_bytes(content)
    scratch.replace(path)


def _limit(limit: dict[str, Any] | None) -> str:
    signs = {"min": "≥", "max": "≤"}
    return " and ".join(f"{signs[k]} {_number(limit[k])}" for k in signs if limit and limit[k] is not None)


def _number(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, list):
        return ", ".join(map(_number, value))
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6):
        return f"{value:,.0f}"
    return f"{value:.3g}"
