"""How long an answer takes: cold (nothing cached), warm (traced before), instant (closed form). Medians of fresh
processes.

.venv/bin/python bench/forecast_speed.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ASKED = ["forecast", "--model", "Qwen/Qwen2.5-7B-Instruct", "--cutoff", "4096", "--gpu", "24GB", "--json"]
INSTANT = (
    "import time; from trimtab.spec.workload import Workload; from trimtab.forecasting.forecast import forecast;"
    "from trimtab.planning.catalogue import find_device; c = find_device('24GB')[0];"
    "w = Workload(model='Qwen/Qwen2.5-7B');"
    "forecast(w, c, instant=True); t = time.perf_counter(); forecast(w.but(max_length=2048), c, instant=True);"
    "print(time.perf_counter() - t)"
)


def seconds(cache: Path) -> float:
    began = time.perf_counter()
    environment = {**os.environ, "TRIMTAB_CACHE": str(cache)}
    subprocess.run([sys.executable, "-m", "trimtab", *ASKED], env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    cold, warm, instant = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            cold.append(seconds(Path(folder)))
            warm.append(seconds(Path(folder)))
        instant.append(
            float(subprocess.run([sys.executable, "-c", INSTANT], check=True, capture_output=True, text=True).stdout)
        )
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "repeats": repeats,
        "cold": cold,
        "warm": warm,
        "instant": instant,
    }
    for name, goal in (("cold", 6.0), ("warm", 1.0), ("instant", 0.05)):
        print(
            f"{name:<8} {statistics.median(found[name]):7.3f} s  (goal {goal} s; {min(found[name]):.3f} to"
            f" {max(found[name]):.3f})"
        )
    (Path(__file__).parent / "results" / "forecast-speed.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
