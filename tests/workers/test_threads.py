"""Threads are asked for at each cohort, and a cohort that goes on keeps its own."""

from types import SimpleNamespace

import pytest
import torch

from trimtab.run import machine
from trimtab.run.cohort import Cohort as RealCohort
from trimtab.store import Store
from trimtab.workers import threads


class Cohort:
    """A step takes `seconds` by number of threads."""

    def __init__(self, recipe, seconds, step=0):
        self.seconds, self.asked = seconds, []
        optimizer = SimpleNamespace(prepare=lambda: None)
        self.begun = bool(step)
        self.members = [SimpleNamespace(id=recipe.run_id, optimizer=optimizer)]


@pytest.fixture
def choose(monkeypatch, recipe, tmp_path):
    store, before = Store(tmp_path), torch.get_num_threads()
    store.add_run(recipe)
    said = []

    def chosen(free, seconds, step=0):
        monkeypatch.setattr(machine, "free_cores", lambda _cores: free)
        monkeypatch.setattr(threads, "_seconds", lambda cohort, n: cohort.seconds[n])
        threads.set_threads(Cohort(recipe, seconds, step), 4, store, said.append)
        assert store.run(recipe.run_id).result["threads"] == torch.get_num_threads()
        return torch.get_num_threads()

    torch.set_num_threads(1)
    chosen.said = said
    yield chosen
    torch.set_num_threads(before)


def test_a_core_that_has_become_free_is_taken_where_a_step_is_quicker_so(choose):
    assert choose(2, {1: 2.0, 2: 1.2}) == 2
    assert choose.said == ["2 threads from here on: a step takes 60% of its time"]
    assert choose(1, {1: 1.0, 2: 4.0}) == 1  # a neighbour has come


def test_a_core_that_does_not_help_is_left(choose):
    assert choose(2, {1: 2.0, 2: 2.1}) == 1
    assert choose.said == []


def test_a_cohort_that_goes_on_keeps_the_number_that_it_began_with(choose):
    assert choose(2, {1: 2.0, 2: 1.2}) == 2
    torch.set_num_threads(1)
    assert choose(1, {}, step=3) == 2


def test_nothing_is_timed_where_nothing_has_changed(choose):
    assert choose(1, {}) == 1


def test_a_cohort_in_its_first_step_is_never_timed(tiny_base, small_data, recipe, tmp_path, monkeypatch):
    """Timing would take its gradients; where an older version began it, the number in use stays."""
    store = Store(tmp_path)
    store.add_run(recipe)
    cohort = RealCohort(tiny_base, [recipe], small_data)
    cohort.members[0].state.micro = 1
    monkeypatch.setattr(machine, "free_cores", lambda _cores: 2)
    monkeypatch.setattr(RealCohort, "rehearse", None)
    threads.set_threads(cohort, 4, store, print)
    assert store.run(recipe.run_id).result["threads"] == torch.get_num_threads()
