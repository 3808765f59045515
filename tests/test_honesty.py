"""bench/honesty.py at a size that a slow suite bears: no claim is wrong more often than it says."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from trimtab.analysis import stats

STUDIES = 60


@pytest.fixture(scope="module")
def honesty():
    place = Path(__file__).parents[1] / "bench" / "honesty.py"
    spec = importlib.util.spec_from_file_location("honesty", place)
    module = importlib.util.module_from_spec(spec)
    sys.modules["honesty"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_no_claim_is_wrong_more_often_than_it_says(honesty):
    for text, nominal, simulate in honesty.CLAIMS:
        rng = np.random.default_rng(99)
        hits = sum(simulate(rng) for _ in range(STUDIES))
        assert stats.share(hits, STUDIES).low <= float(nominal.split()[0]) / 100, (text, hits)


@pytest.mark.slow
def test_the_race_keeps_the_eventual_best_of_the_recorded_grid(honesty):
    for lost, triples in honesty.raced().values():
        assert lost <= 1
        assert triples == 27
