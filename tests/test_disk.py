"""Work on a disk: in its order, as many at a time as there are threads, and nobody waits who does not want to."""

import stat
import threading
from pathlib import Path

import gevent
import pytest

from config.settings import load
from web import startup
from web.disk import THREADS, Disk, fault, in_thread
from web.keyring import Keyring


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


def test_a_folder_that_is_not_there_is_made_for_the_server_alone(tmp_path: Path):
    folder = tmp_path / "a" / "b"
    assert fault(folder, 10.0) == ""
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and not list(folder.iterdir())


def test_a_folder_in_which_nothing_can_be_kept_is_told_at_the_start(tmp_path: Path, caplog, server):
    file = tmp_path / "file"
    file.touch()
    settings = load("null").model_copy(
        update={"record_dir": file / "recordings", "redis_url": server.url(0), "media_url": server.url(1)}
    )
    startup.check(settings, Keyring(settings.auth))
    assert f"recordings (record_dir) cannot be kept in {file}/recordings: Not a directory" in caplog.text


def test_a_disk_that_does_not_answer_holds_up_no_start(tmp_path: Path, monkeypatch):
    mended = threading.Event()
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: mended.wait(30.0))
    assert fault(tmp_path / "far", 0.05) == "the disk does not answer"
    mended.set()
