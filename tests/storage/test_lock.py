"""One process at a time in a folder."""

import errno
import os
import threading

import pytest

from kdbench.errors import Note
from kdbench.storage import lock
from kdbench.storage.files import CannotWrite
from kdbench.storage.lock import alone


def test_a_second_one_waits_for_the_first_and_says_so(tmp_path):
    done, waiting = [], threading.Event()

    def second():
        with alone(tmp_path, waits=waiting.set):
            done.append("second")

    with alone(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(60)
        done.append("first")
    thread.join()
    assert done == ["first", "second"]


def test_who_is_alone_does_not_wait(tmp_path):
    said = []
    for _ in range(2):
        with alone(tmp_path / "new/folder", waits=lambda: said.append("waits")):
            pass
    assert said == []


def test_what_a_killed_process_left_goes_and_nothing_else(tmp_path):
    for name in (".weights.bin.abc", "weights.bin", ".other"):
        (tmp_path / name).write_text("")
    (tmp_path / ".weights.bin.folder").mkdir()
    (tmp_path / ".weights.bin.folder/x").write_text("")
    with alone(tmp_path, (".weights.bin.*",)):
        assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", ".other", "weights.bin"]


def test_a_place_that_is_none_is_named(tmp_path):
    place = tmp_path / "file"
    place.write_text("")
    with pytest.raises(CannotWrite, match="file/.lock: cannot be written"), alone(place):
        pass


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.warns(Note, match="no lock .*do not run the same twice at once"), alone(tmp_path):
        entered = True
    assert entered
