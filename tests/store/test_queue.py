import pytest

from trimtab.spec.status import Status
from trimtab.store import Store
from trimtab.store.queue import ATTEMPTS


@pytest.fixture
def queue(any_store):
    return any_store.queue


def test_a_job_has_one_owner(queue):
    job = queue.add("s", "c", ["r"], {"x": 1})
    assert queue.claim("a", "other") is None
    taken = queue.claim("a", "s")
    assert (taken.id, taken.owner, taken.runs, taken.asked, taken.attempts) == (job.id, "a", ["r"], {"x": 1}, 1)
    assert queue.claim("b", "s") is None
    assert queue.beat(job.id, "a")
    assert not queue.beat(job.id, "b")
    assert not queue.end(job.id, "b", Status.COMPLETE)
    assert queue.end(job.id, "a", Status.COMPLETE)
    assert queue.job(job.id).status == Status.COMPLETE


def test_two_who_want_the_same_job(queue):
    waiting = queue.add("s", "c", ["r"], {})
    assert queue._take(waiting, "a")
    assert not queue._take(waiting, "b")


def test_a_job_outlives_some_owners_and_then_fails(queue):
    queue.add("s", "c", ["r"], {})
    for i in range(ATTEMPTS):
        last = queue.give_back(queue.claim(f"w{i}", "s"), "its worker died")
    assert (last.status, last.reason) == (Status.FAILED, "its worker died; 3 workers died at it")
    assert queue.add("s", "c", ["r"], {}).status == Status.WAITING  # asked for again


def test_what_is_at_work_is_left_alone_when_it_is_asked_for_again(queue):
    queue.add("s", "c", ["r"], {})
    queue.claim("a", "s")
    assert queue.add("s", "c", ["r"], {}).owner == "a"


def test_an_owner_that_was_given_up_cannot_give_back_the_next_ones(queue):
    queue.add("s", "c", ["r"], {})
    first = queue.claim("a", "s")
    queue.give_back(first, "silent")
    queue.claim("b", "s")
    assert queue.give_back(first, "late").owner == "b"


def test_what_waits_can_be_cancelled(queue):
    for cohort in ("c", "d"):
        queue.add("s", cohort, [cohort], {})
    queue.claim("a", "s")
    queue.cancel("s", "stopped")
    assert sorted(j.status for j in queue.jobs("s")) == [Status.RUNNING, Status.STOPPED]


def test_the_queue_is_there_after_a_restart(tmp_path):
    Store(tmp_path).queue.add("s", "c", ["r"], {})
    assert Store(tmp_path).queue.claim("a").runs == ["r"]


def test_a_job_that_was_let_go_is_no_death(queue):
    queue.add("s", "c", ["r"], {})
    for _ in range(2 * ATTEMPTS):
        queue.release(queue.claim("a", "s"))
    assert queue.claim("a", "s").attempts == 1
