"""Threads by what is free: a neighbour at low priority is none, one at our own priority is."""

from types import SimpleNamespace

import pytest

from trimtab.run import machine


@pytest.mark.parametrize(
    ("times", "quicker", "threads"),
    [
        ({"idle": 100.0, "nice": 0.0, "iowait": 0.0}, True, 4),
        ({"idle": 25.0, "nice": 75.0, "iowait": 0.0}, True, 4),  # somebody else's work gives way
        ({"idle": 50.0, "nice": 0.0, "iowait": 0.0}, True, 2),
        ({"idle": 20.0, "nice": 0.0, "iowait": 30.0}, True, 2),  # waiting for a disk leaves the core free
        ({"idle": 0.0, "nice": 0.0, "iowait": 0.0}, True, 1),
        ({"idle": 100.0, "nice": 0.0, "iowait": 0.0}, False, 1),  # free, but no quicker together
        ({"idle": 75.0}, True, 3),  # a system that tells no more
    ],
)
def test_cores_that_are_free_and_quicker_together(monkeypatch, times, quicker, threads):
    monkeypatch.setattr("psutil.cpu_times_percent", lambda interval: SimpleNamespace(**times))  # noqa: ARG005
    monkeypatch.setattr(machine, "_seconds", lambda n: 1 / n if quicker else float(n))
    assert machine.free_cores(4) == threads


def test_a_resumed_study_keeps_the_number_it_began_with():
    assert machine.look(3).threads == 3
