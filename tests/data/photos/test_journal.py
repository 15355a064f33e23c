"""Journals: what was noted is there after any kill, and is never mixed with another work's."""

import os

import pytest

from data.photos.journal import PhotoJournal, remove_made, stamp_of


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "new" / "journal.jsonl"
    with PhotoJournal(path, {"model": "a"}) as journal:
        journal.note("1.jpg", share=0.5, error="")
        journal.note("ü\n2.jpg", share=None, error="no photo")
        journal.note("1.jpg", share=0.25, error="")
    return path


FACTS = {
    "1.jpg": {"share": 0.25, "error": ""},
    "ü\n2.jpg": {"share": None, "error": "no photo"},
}


def test_what_was_noted_last_is_read(path):
    assert PhotoJournal(path, {"model": "a"}).facts == FACTS


def test_a_kill_at_any_moment_loses_no_more_than_the_line_it_cut(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        with PhotoJournal(path, {"model": "a"}) as journal:
            assert len(journal.facts) <= 2
            journal.note("3.jpg", share=1)
        facts = PhotoJournal(path, {"model": "a"}).facts
        assert facts.pop("3.jpg") == {"share": 1}
        assert facts.keys() <= FACTS.keys()
        assert len(facts) == min(max(whole[:length].count(b"\n") - 1, 0), 2)


def test_facts_hold_for_the_photo_that_they_were_noted_of(path, tmp_path):
    photo = tmp_path / "4.jpg"
    assert stamp_of(photo) == []
    photo.write_bytes(b"one")
    with PhotoJournal(path, {"model": "a"}) as journal:
        journal.note("4.jpg", share=1, stamp=stamp_of(photo))
    journal = PhotoJournal(path, {"model": "a"})
    assert journal.current("4.jpg", stamp_of(photo))["share"] == 1
    assert journal.current("1.jpg", stamp_of(photo)) == {}  # noted without a stamp
    size, changed_ns = stamp_of(photo)
    os.utime(photo, ns=(0, changed_ns + 1))
    assert journal.current("4.jpg", stamp_of(photo)) == {}
    assert journal.current("4.jpg", [size + 1, changed_ns]) == {}


def test_what_is_forgotten_stays_forgotten(path):
    with PhotoJournal(path, {"model": "a"}) as journal:
        journal.forget("1.jpg")
    assert "1.jpg" not in PhotoJournal(path, {"model": "a"}).facts


def test_a_strangers_record_removes_nothing_outside_of_its_folder(tmp_path):
    folder, outside = tmp_path / "copy", tmp_path / "mine.jpg"
    (folder / "images").mkdir(parents=True)
    outside.write_bytes(b"mine")
    (folder / "link").symlink_to(tmp_path)
    (folder / "images" / "1.jpg").write_bytes(b"made")
    for name in ("../mine.jpg", str(outside), "link/mine.jpg", "images/../../mine.jpg"):
        with pytest.raises(ValueError, match="outside of it"):
            remove_made(folder, name)
    assert outside.is_file()
    assert remove_made(folder, "images/1.jpg")
    assert not remove_made(folder, "images/1.jpg")


def test_another_works_journal_is_refused(path):
    with pytest.raises(ValueError, match=r"begun otherwise \(model: a, now b\).*another folder"):
        PhotoJournal(path, {"model": "b"})


@pytest.mark.parametrize("line", ["[]", "nonsense", '{"share": 1}', '{"header": 3}'])
def test_files_that_are_no_journals_are_refused(tmp_path, line):
    (tmp_path / "x").write_text(line + "\n")
    with pytest.raises(ValueError, match="line 1: cannot be read"):
        PhotoJournal(tmp_path / "x", {"model": "a"})


def test_names_that_are_no_text_are_kept(path):
    """A name of Latin-1 bytes, as Python stands for them."""
    with PhotoJournal(path, {"model": "a"}) as journal:
        journal.note("caf\udce9.jpg", share=0.5)
    assert PhotoJournal(path, {"model": "a"}).facts == {**FACTS, "caf\udce9.jpg": {"share": 0.5}}
