"""The first ten minutes: whole demos, one after another, as a newcomer starts them.

    python bench/first_run.py [--repeats 5] [--kernels quick|avx2] [--neighbour none|niced] [--time 9m] [--out FOLDER]
    python bench/first_run.py --table

`avx2` switches quick kernels off (ONEDNN_MAX_CPU_ISA, ATEN_CPU_CAPABILITY), so that the processor computes as one
without them, in float32; `niced` has another process at work at low priority. Of each: minutes, time asked for against
time used, seeds, gain with interval, verdict, limited numbers not measured. Rows are kept in results/first-run.json as
they are measured; the table is results/first-run.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from trimtab.run import machine
from trimtab.spec.durations import parse

HERE = Path(__file__).parent / "results"
KERNELS = {"quick": {}, "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}}
BUSY = "while True: sum(i * i for i in range(10**5))"


def one(kernels: str, neighbour: str, limit: str, out: Path) -> dict[str, Any]:
    """A demo in an empty folder and an empty cache of what bases said; the models stay fetched."""
    shutil.rmtree(out, ignore_errors=True)
    cache = out / "cache"
    cache.mkdir(parents=True)
    assets = Path(os.environ.get("TRIMTAB_CACHE") or Path.home() / ".cache" / "trimtab") / "assets"
    (cache / "assets").symlink_to(assets)
    busy = subprocess.Popen(["nice", "-n", "19", sys.executable, "-c", BUSY]) if neighbour == "niced" else None
    command = [sys.executable, "-m", "trimtab", "demo", "--time", limit, "--out", str(out / "demo"), "--json"]
    began = time.monotonic()
    try:
        ended = subprocess.run(
            command, env=os.environ | KERNELS[kernels] | {"TRIMTAB_CACHE": str(cache)}, capture_output=True, text=True
        )
    finally:
        if busy:
            busy.kill()
    used = time.monotonic() - began
    code = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    row = {"code": code, "kernels": kernels, "neighbour": neighbour, "asked": parse(limit), "used": round(used)}
    if ended.returncode:
        return row | {"failed": ended.stderr[-400:]}
    (file,) = (out / "demo").glob("tune-*/report.json")
    report = json.loads(file.read_text())
    made, rows = report["recommendation"], (report["card"] or {"rows": []})["rows"]
    states = [r["verdict"] for r in rows if r["verdict"]]
    return row | {
        "seeds": len(made["runs"]), "gain": made["gain"], "standing": made["standing"], "verdict": made["verdict"],
        "not measured": states.count("NOT MEASURED"), "undecided": states.count("UNDECIDED"),
        "hard undecided": sum(r["hard"] and r["verdict"] == "UNDECIDED" for r in rows),
        "layers": made["recipe"]["layers_to_transform"], "epochs": made["recipe"]["num_train_epochs"],
    }  # fmt: skip


def table(kept: dict[str, Any]) -> str:
    lines = [
        "# The first ten minutes",
        "",
        f"`bench/first_run.py`, whole demos in an empty folder, by commit; {kept['machine']}, {kept['date']}.",
        "",
        "| code | kernels | neighbour | time asked, used | seeds | gain, points | verdict | not measured |"
        " undecided (hard) | recipe |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in kept["rows"]:
        took = f"{r['asked'] / 60:.1f}, {r['used'] / 60:.1f} min ({r['used'] / r['asked']:.0%})"
        how = f"{r['code']} | {r['kernels']} | {r['neighbour']}"
        if "failed" in r:
            lines.append(f"| {how} | {took} | failed: {r['failed'][-120:]!r} | | | | | |")
            continue
        gain = r["gain"]
        known = "" if gain["low"] is None else f" [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
        layers = f", layers {r['layers'][0]} to {r['layers'][-1]}" if r["layers"] else ""
        lines.append(
            f"| {how} | {took} | {r['seeds']} | {100 * gain['value']:+.1f}{known} |"
            f" {r['verdict']} | {r['not measured']} | {r['undecided']} ({r['hard undecided']}) |"
            f" {r['epochs']:g} epochs{layers} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kernels", choices=KERNELS, default="quick")
    parser.add_argument("--neighbour", choices=("none", "niced"), default="none")
    parser.add_argument("--time", default="9m")
    parser.add_argument("--out", type=Path, default=Path("bench-out/first-run"))
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    file = HERE / "first-run.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {"rows": []}
    for _ in range(0 if args.table else args.repeats):
        kept["rows"].append(one(args.kernels, args.neighbour, args.time, args.out))
        kept |= {"machine": machine.look(1).name, "date": str(date.today())}
        print(kept["rows"][-1], flush=True)
        file.write_text(json.dumps(kept, indent=1) + "\n")
    (HERE / "first-run.md").write_text(table(kept))


if __name__ == "__main__":
    main()
