"""kill -9 at random moments of a real study: started again it goes on, and ends in the same bits."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trimtab.store import Store

SCRIPT = Path(__file__).parent / "kill_worker.py"


def start(data, out):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(data), str(out)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def truth(out):
    """Everything that must be equal: decisions, every step's numbers, every evaluation, the recommendation."""
    store = Store(out, create=False)
    (study,) = store.studies()
    runs = {r.id: (r.status, r.reason, r.result["best_loss"], r.result["step"], r.result["size"]) for r in store.runs()}
    steps = {r: [(s["step"], s["loss"], s["grad_norm"], s["learning_rate"]) for s in store.steps(r)] for r in runs}
    evaluations = {r: [(e["step"], e["items"], e["pulse"]) for e in store.evaluations(r)] for r in runs}
    decisions = [(d["place"], d["sentence"]) for d in store.decisions(study.id)]
    told = ("inside", "way")  # what looking for a way inside would take of this machine, and in which folder
    recommended = {k: v for k, v in study.facts.recommendation.items() if k not in told}
    return runs, steps, evaluations, decisions, recommended


def killed_until_done(data, out, kills, seed):
    rng, done = random.Random(seed), 0
    while True:
        process = start(data, out)
        if done < kills:
            # most deaths fall into the work itself, some into start-up
            wait_until = time.monotonic() + rng.uniform(2.0, 9.0)
            while process.poll() is None and time.monotonic() < wait_until:
                time.sleep(0.01)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                done += 1
                continue
        text, _ = process.communicate(timeout=280)
        assert process.returncode == 0, text
        return done, text


@pytest.fixture(scope="module")
def undisturbed(small_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    _, text = killed_until_done(small_file, out, 0, 0)
    assert "DONE" in text
    return truth(out)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_twice(undisturbed, small_file, tmp_path):
    done, _ = killed_until_done(small_file, tmp_path, 2, seed=1)
    assert done >= 1
    assert truth(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_killed_twenty_times(undisturbed, small_file, tmp_path):
    """Several studies, until at least 20 processes have died; each must end like the undisturbed one."""
    total, seed = 0, 100
    while total < 20:
        out = tmp_path / str(seed)
        done, _ = killed_until_done(small_file, out, 7, seed)
        assert truth(out) == undisturbed
        total, seed = total + done, seed + 1
        assert seed < 120, "the study ends too fast to be killed"
