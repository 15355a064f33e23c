"""Journals: what was noted is there after any kill, and is never mixed with another work's."""

import pytest

from data.photos.journal import PhotoJournal


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


def test_another_works_journal_is_refused(path):
    with pytest.raises(ValueError, match=r"begun otherwise \(model: a, now b\).*another folder"):
        PhotoJournal(path, {"model": "b"})


@pytest.mark.parametrize("line", ["[]", "nonsense", '{"share": 1}', '{"header": 3}'])
def test_files_that_are_no_journals_are_refused(tmp_path, line):
    (tmp_path / "x").write_text(line + "\n")
    with pytest.raises(ValueError, match="line 1: cannot be read"):
        PhotoJournal(tmp_path / "x", {"model": "a"})
