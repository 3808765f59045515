"""What a card costs: wall time of a pulse and a card of one adapter on the bundled model, the base met for the first
time and again.

    python bench/card_cost.py [--quick]

Each call is a process of its own, loading included; the parts as the card itself reports them.
results/card_cost.json. --quick: pulses only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import trimtab
from card_noise import RECIPE
from trimtab.datasets.assets import cache_folder
from trimtab.run import machine

GOALS = {"pulse": 10.0, "card": 300.0}  # seconds, on two cores
CALL = (
    "import json, sys; import trimtab; c = trimtab.card(sys.argv[1], base='bundled:smollm2',"
    " data='bundled:home-commands', level=sys.argv[2]); print(json.dumps(c['seconds']))"
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    levels = ("pulse",) if parser.parse_args().quick else ("pulse", "card")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        run = trimtab.train(RECIPE.but(max_steps=10), out=Path(folder) / "out")
        adapter, cache = Path(folder) / "out" / "runs" / run.id / "best", Path(folder) / "cache"
        cache.mkdir()
        for part in ("assets", "models"):
            (cache / part).symlink_to(cache_folder() / part)
        for level in levels:
            for met in ("the first time", "again"):
                found.append(measure(str(adapter), level, met, cache))
                print(found[-1], flush=True)
    kept = {"date": str(date.today()), "machine": machine.look().as_dict(), "goals": GOALS, "results": found}
    (Path(__file__).parent / "results" / "card_cost.json").write_text(json.dumps(kept, indent=1) + "\n")


def measure(adapter: str, level: str, met: str, cache: Path) -> dict[str, object]:
    began = time.monotonic()
    said = subprocess.run(
        [sys.executable, "-c", CALL, adapter, level],
        env={**os.environ, "TRIMTAB_CACHE": str(cache)},
        check=True,
        capture_output=True,
        text=True,
    )
    parts = json.loads(said.stdout.strip().splitlines()[-1])
    return {
        "level": level,
        "base met": met,
        "wall": time.monotonic() - began,
        "measuring": sum(parts.values()),
        "tuned only": sum(v for k, v in parts.items() if not k.endswith("(base)")),
        "parts": parts,
    }


if __name__ == "__main__":
    main()
