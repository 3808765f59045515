"""The README's pictures of the live view, the report and the card, from a real tune.

    python bench/pictures.py OUT [--chromium /usr/bin/chromium]

OUT is the folder of a finished tune (`make demo` leaves trimtab-out). The report is photographed as a browser shows
its beginning; the live view is the terminal's own, of the study's first cohort when half of its steps were taken; the
card's picture is the report's own. docs/live.png, docs/report.png, docs/behaviour.png.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tempfile
from pathlib import Path

import resvg_py
from rich.console import Console
from rich.terminal_theme import MONOKAI

from trimtab.cli.live import Live
from trimtab.reporting import standalone
from trimtab.store.folder import opened
from trimtab.store.store import Store

DOCS = Path(__file__).parents[1] / "docs"
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
MORE = "--disable-component-update --disable-sync --hide-scrollbars --force-color-profile=srgb"


def photographed(chromium: str, page: Path, size: tuple[int, int], picture: Path) -> None:
    with tempfile.TemporaryDirectory() as profile:
        where = [f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}", f"--screenshot={picture}"]
        subprocess.run([chromium, *FLAGS.split(), *MORE.split(), *where, page.as_uri()], check=True, timeout=120)


def live_view(store: Store, limit: float) -> str:
    """As SVG."""
    study = next(s for s in store.studies() if s.kind == "tune")
    cohort = [r for r in store.runs(study.id) if r.cohort == store.runs(study.id)[0].cohort]
    console = Console(record=True, file=io.StringIO(), force_terminal=True, width=112)
    live = Live(quiet=True, limit=limit)
    steps = {r.id: store.steps(r.id) for r in cohort}
    live.cohort([r.recipe for r in cohort], {r.id: len(steps[r.id]) for r in cohort})
    for run, taken in steps.items():
        for s in taken[: len(taken) // 2]:
            live.step(run, {"step": s["step"], "loss": s["loss"]})
        for e in store.evaluations(run):
            if e["share"] <= 0.5:
                drift = e["pulse"]["kl_pulse"]
                live.step(run, {"evaluation": e["loss"], "drift": sum(drift) / len(drift)})
    spent = sum(taken[len(taken) // 2]["seconds"] for taken in steps.values())
    live.cohort_began -= spent
    live.began -= spent + cohort[0].created - study.created
    console.print(live.table())
    return console.export_svg(title="trimtab tune", theme=MONOKAI).replace("Fira Code, monospace", "monospace")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--time", type=float, default=540, help="seconds that the tune was given")
    args = parser.parse_args()
    (report,) = args.out.resolve().glob("tune-*/report.html")
    part = report.read_text(encoding="utf-8").split("What it did to the model")[-1]
    (DOCS / "behaviour.png").write_bytes(
        standalone.png(part[part.index("<svg") : part.index("</svg>") + len("</svg>")])
    )
    photographed(args.chromium, report, (1000, 610), DOCS / "report.png")
    with opened(args.out, create=False) as store:
        drawn = live_view(store, args.time)
    terminal = resvg_py.svg_to_bytes(
        svg_string=drawn, monospace_family="DejaVu Sans Mono", sans_serif_family="DejaVu Sans"
    )
    (DOCS / "live.png").write_bytes(bytes(terminal))


if __name__ == "__main__":
    main()
