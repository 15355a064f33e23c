"""Files that are whole or not there."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from partitioning.atomic_file import atomic_path


def test_file_takes_its_place_at_the_end(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def write_half(path):
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        raise OSError("disk full")


def test_failure_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"):
        write_half(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_that_write_one_file_do_not_meet(tmp_path):
    path = tmp_path / "file.txt"
    with atomic_path(path) as first:
        first.write_text("first")
        with atomic_path(path) as second:
            second.write_text("sec")
            assert second != first
        assert path.read_text() == "sec"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_used_again(tmp_path):
    path = tmp_path / "file.txt"
    (tmp_path / "file.txt.tmp").write_text("much longer than the new one")
    with atomic_path(path) as temporary:
        assert temporary.read_bytes() == b""
        with temporary.open("r+") as file:
            file.write("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_many_threads_write_whole_files(tmp_path):
    path, texts = tmp_path / "file.txt", [str(i) * 50_000 for i in range(8)]

    def write(text):
        for _ in range(5):
            with atomic_path(path) as temporary:
                temporary.write_text(text)
            assert path.read_text() in texts

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, texts))
    assert list(tmp_path.iterdir()) == [path]
