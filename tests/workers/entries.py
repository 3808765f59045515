"""What the workers of the launcher tests do instead of training: leave a trace, fail, die or wait, as the cohort's
name says."""

import os
import signal
import time
from pathlib import Path

from trimtab.errors import RunError


def entry(store, job):
    store.log_event("began", job.cohort, run=job.runs[0])
    if job.cohort.startswith("bad"):
        raise RunError("this one cannot be trained")
    if job.cohort.startswith("dies once") and job.attempts == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if job.cohort.startswith("always dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    while job.cohort.startswith("waits") and not Path(job.asked["for"]).exists():
        time.sleep(0.05)
    store.log_event("ended", job.cohort, run=job.runs[0])
