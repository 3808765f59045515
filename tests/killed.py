"""A run that is killed in its middle and goes on, beside the same run undisturbed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import trimtab


def killed_and_gone_on(recipe: Path, folder: Path) -> tuple[Path, Path]:
    """(where it ran undisturbed, where it was killed at its first checkpoint and started again)."""
    whole, cut = folder / "whole", folder / "cut"
    trimtab.train(recipe, out=whole)
    command = [sys.executable, "-m", "trimtab", "train", str(recipe), "--out", str(cut)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None and not list(cut.glob("runs/*/state-*.safetensors")):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    trimtab.train(recipe, out=cut)
    return whole, cut
