"""A report's data -> one HTML file that needs no network. Takes data, gives text; writes atomically."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from trimtab.reporting import card_parts, draw, ladder_parts, pictures
from trimtab.reporting.glance import glance
from trimtab.reporting.layers import layers
from trimtab.reporting.report_data import study_report
from trimtab.spec.durations import in_words
from trimtab.spec.files import write_whole
from trimtab.store import Store
from trimtab.tuning.summary import seed_in_words


def environment() -> Environment:
    """Templates and filters of every page."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    percent = lambda v: "–" if v is None else f"{v:.0%}"  # noqa: E731
    templates.filters.update(number=_number, percent=percent, limit=_limit, duration=in_words, lower_first=_lower_first)
    templates.filters["seed_in_words"] = seed_in_words
    return templates


def html(report: dict[str, Any]) -> str:
    """The page of a tune study as text."""
    walked = (report["recommendation"] or {}).get("inside") or {}
    ladder = ladder_parts.parts(walked) if "rungs" in walked else None
    shown = card_parts.parts(report["card"]["rows"], report["epochs"], report["samples"]) if report["card"] else {}
    page = environment().get_template("page.html")
    metrics = [
        k for k in report["words"]["metrics"] if report["recommendation"] and k in report["recommendation"]["seeds"][0]
    ]
    drift = card_parts.drift_row(report["card"]["rows"]) if report["card"] else None
    first = glance(report["recommendation"], drift, report["words"]["drift"]) if report["recommendation"] else ""
    text = page.render(
        r=report,
        glance=first,
        ladder=ladder,
        metrics=metrics,
        curves=draw.curves,
        against=pictures.against,
        memory=draw.memory,
        layers=layers(report["layers"]),
        **shown,
    )
    return with_contents(text)


def with_contents(page: str) -> str:
    """The page with a list of its parts where it asks for one; every second-level heading is a part."""
    titles: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        titles.append(found.group(1))
        return f'<h2 id="part-{len(titles)}">{found.group(1)}</h2>'

    page = re.sub(r"<h2>(.*?)</h2>", numbered, page)
    links = " · ".join(f'<a href="#part-{i}">{title}</a>' for i, title in enumerate(titles, 1))
    return page.replace("<!-- contents -->", f'<nav class="soft">{links}</nav>')


def write_report(store: Store, study: str, folder: Path) -> Path:
    """folder/report.html and the same as report.json; gives the page's path."""
    report = study_report(store, study)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "report.json", json.dumps(report, indent=1, ensure_ascii=False).encode())
    write_whole(folder / "report.html", html(report).encode())
    return folder / "report.html"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


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
