"""Work on a disk: in its order, as many at a time as there are threads, and nobody waits who does not want to."""

import threading

import gevent
import pytest

from web.disk import THREADS, Disk, in_thread


def test_a_disk_that_hangs_holds_up_nobody_who_asks_for_more():
    disk, mended = Disk(2), threading.Event()
    with gevent.Timeout(5.0):
        jobs = [disk.begin(mended.wait, 30.0) for _ in range(50)]
    assert not any(job.ready() for job in jobs)
    mended.set()
    assert all(job.get(timeout=10.0) for job in jobs)


def test_more_than_there_are_threads_are_done_in_their_order():
    disk, done = Disk(1), []
    jobs = [disk.begin(done.append, number) for number in range(20)]
    gevent.wait(jobs, timeout=10.0)
    assert done == list(range(20))


def test_who_asks_for_the_result_is_told_what_went_wrong_and_the_thread_is_free_again():
    disk = Disk(1)

    def broken() -> None:
        raise OSError(5, "Input/output error")

    for _ in range(3):
        with pytest.raises(OSError, match="Input/output"):
            disk.begin(broken).get(timeout=10.0)
    assert disk.begin(int, "7").get(timeout=10.0) == 7


def test_names_are_resolved_while_the_disk_hangs():
    mended = threading.Event()
    jobs = [in_thread(mended.wait, 30.0) for _ in range(THREADS)]
    assert gevent.get_hub().threadpool.apply(int, ("7",)) == 7
    mended.set()
    gevent.wait(jobs, timeout=10.0)
