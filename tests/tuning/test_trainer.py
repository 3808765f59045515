"""The seam between deciding and training: whoever stands behind it can be asked everything in the seam's own words."""

import inspect

import pytest

from tests.tuning.fake_trainer import FakeTrainer, FakeWorker
from trimtab.tuning.trainer import Local, Trainer


def asked(protocol):
    return {n: inspect.signature(f) for n, f in vars(protocol).items() if inspect.isfunction(f) and n[0] != "_"}


def answers(kind, protocol):
    """Each call that the protocol allows is one that `kind` takes, with the same defaults."""
    for name, wanted in asked(protocol).items():
        theirs = inspect.signature(getattr(kind, name))
        wanted_values = [p for p in wanted.parameters.values() if p.name != "self"]
        theirs.bind(None, *wanted_values)  # every argument
        theirs.bind(None, *(p for p in wanted_values if p.default is p.empty))  # the least
        own = [p for p in theirs.parameters.values() if p.name != "self"]
        for p, q in zip(wanted_values, own, strict=False):
            assert p.default == q.default, (kind, name, p.name)


@pytest.mark.parametrize("fake", [FakeTrainer, FakeWorker])
def test_the_fakes_of_the_tests_stand_at_the_seam(fake):
    for protocol in (Trainer, Local):
        answers(fake, protocol)


def test_worker_and_remote_trainer_stand_at_it_too():
    from trimtab.workers.remote_trainer import RemoteTrainer
    from trimtab.workers.worker import Worker

    answers(RemoteTrainer, Trainer)
    for protocol in (Trainer, Local):
        answers(Worker, protocol)
    train = inspect.signature(Worker.train).parameters
    assert list(train) == list(inspect.signature(Trainer.train).parameters)  # `reopen` and `race` are said by name
    assert list(inspect.signature(RemoteTrainer.train).parameters) == list(train)
