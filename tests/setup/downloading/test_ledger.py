"""The ledger alone: rounds, lists that change, and files that are no ledger."""

import sqlite3
import subprocess
import sys

import pytest

from setup.downloading.ledger import Ledger
from setup.downloading.ledger_list import add_list, add_metadata, begin, end, source_of
from setup.downloading.ledger_report import count_due, count_there, report_rows
from setup.downloading.report import Row

A_LONG_LIST = """
import sys
from pathlib import Path
from setup.downloading.report import write_rows
from setup.downloading.ledger import Ledger
from setup.downloading.ledger_list import add_list, add_metadata, begin
from setup.downloading.ledger_report import report_rows
folder, count = Path(sys.argv[1]), int(sys.argv[2])
with Ledger(folder, samples_per_shard=2000) as ledger:
    number, position = begin(ledger), '{"lat": 1, "lon": 2}'
    add_metadata(ledger, number, ((f"{i:x}/photo{i}.jpg", position, "") for i in range(count)))
    rows = ((f"{i:x}/photo{i}.jpg", f"https://example.org/{i}.jpg") for i in range(count))
    add_list(ledger, number, rows, shuffle=True)
    after, seen = -1, 0
    while jobs := ledger.due(after, 500):
        after, seen = jobs[-1].turn, seen + len(jobs)
    assert seen == count
    with ledger.change() as run:
        run("UPDATE photos SET error = 'HTTP 404', status = 404, is_due = 0")
    write_rows(report_rows(ledger), folder / "report.csv")
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(int(peak) // 1024)
"""


def listed(*names):
    return [(name, f"http://x/{name}") for name in names]


def take(ledger, rows, **options):
    """Begin a run over a list; returns the keys that are due, in their order."""
    number = begin(ledger, options.pop("is_refresh", False))
    add_list(ledger, number, rows, **options)
    return [job.key for job in ledger.due(-1, 100)]


def finish(ledger, **outcomes):
    """Finish jobs by key: a status, 200 for a photo."""
    for job in ledger.due(-1, 100):
        status = outcomes.get(job.key)
        if status == 200:
            ledger.finish(job, Row(job.key, job.url, 200, "", 3, 4, "ab" * 32), '"tag"', "date")
        elif status is not None:
            ledger.finish(job, Row(job.key, job.url, status, f"HTTP {status}"))


def test_a_stopped_run_goes_on_and_a_whole_one_begins_another_round(tmp_path):
    rows = listed("good", "gone", "busy", "late")
    with Ledger(tmp_path) as ledger:
        assert take(ledger, rows) == ["good", "gone", "busy", "late"]
        finish(ledger, good=200, gone=404, busy=503)
    with Ledger(tmp_path) as ledger:  # stopped: what failed is not asked again
        assert take(ledger, rows) == ["late"]
        finish(ledger, late=403)
        end(ledger)
        assert count_due(ledger) == 0
    with Ledger(tmp_path) as ledger:  # another round: but what is gone is gone
        assert take(ledger, rows) == ["busy", "late"]


def test_a_stopped_run_that_was_not_ended_is_not_finished(tmp_path):
    with Ledger(tmp_path) as ledger:
        take(ledger, listed("a", "b"))
        finish(ledger, a=403)
        end(ledger)  # b is due still
    with Ledger(tmp_path) as ledger:
        assert take(ledger, listed("a", "b")) == ["b"]


def test_lists_that_change(tmp_path):
    with Ledger(tmp_path) as ledger:
        take(ledger, listed("a", "b", "c", "d"))
        finish(ledger, a=200, b=403)
        assert take(ledger, [*listed("e", "b", "a"), ("c", "http://other/c")]) == ["c", "e"]
        keys = [row.key for row in report_rows(ledger)]
        assert keys == ["b", "a"]  # d was never asked for
        assert count_there(ledger, 2) == 1
        # A new address of a photo that failed is another chance, of one that is there none.
        assert take(ledger, [("b", "http://new/b"), ("a", "http://new/a")]) == ["b"]
        (job,) = ledger.due(-1, 9)
        assert job.url == "http://new/b"


def test_refused_rows_and_the_first_of_a_key(tmp_path):
    rows = [("a", "nonsense"), ("a", "http://x/1"), ("a", "http://x/2"), ("", "http://x/3")]
    with Ledger(tmp_path) as ledger:
        assert take(ledger, rows) == ["a"]
        finish(ledger, a=200)
        assert [(row.url, row.cause) for row in report_rows(ledger)] == [
            ("nonsense", "bad url"),
            ("http://x/1", ""),
            ("http://x/2", "duplicate id"),
            ("http://x/3", "bad id"),
        ]
        take(ledger, rows[1:2])
        assert len(list(report_rows(ledger))) == 1


def test_shuffled_turns_do_not_hang_on_the_order_of_the_list(tmp_path):
    names = [f"p{i}" for i in range(50)]
    orders = []
    for i, rows in enumerate((listed(*names), listed(*reversed(names)))):
        with Ledger(tmp_path / str(i)) as ledger:
            orders.append(take(ledger, rows, shuffle=True))
    assert orders[0] == orders[1] != names
    assert sorted(orders[0]) == sorted(names)


def test_turns_are_for_ever(tmp_path):
    with Ledger(tmp_path) as ledger:
        take(ledger, listed("a", "b"))
        before = {job.key: job.turn for job in ledger.due(-1, 9)}
        take(ledger, listed("c", "b", "a"))
        after = {job.key: job.turn for job in ledger.due(-1, 9)}
    assert before == {"a": 0, "b": 1}
    assert after == before | {"c": 2}


def test_a_refresh_that_was_stopped_goes_on(tmp_path):
    rows = listed("a", "b")
    with Ledger(tmp_path) as ledger:
        take(ledger, rows)
        finish(ledger, a=200, b=200)
        end(ledger)
        assert take(ledger, rows) == []
        end(ledger)
        assert take(ledger, rows, is_refresh=True) == ["a", "b"]
        first, _ = ledger.due(-1, 9)
        assert (first.is_there, first.etag, first.modified) == (True, '"tag"', "date")
        ledger.keep(first)
        assert take(ledger, rows, is_refresh=True) == ["b"]
        assert take(ledger, rows) == ["b"]
        ledger.keep(ledger.due(-1, 9)[0], etag='"new"')
        end(ledger)
        assert take(ledger, rows, is_refresh=True) == ["a", "b"]
        assert [job.etag for job in ledger.due(-1, 9)] == ['"tag"', '"new"']


def test_positions_are_needed_for_shards(tmp_path):
    with Ledger(tmp_path, samples_per_shard=10) as ledger:
        number = begin(ledger)
        metadata = [("a", "", "swapped?"), ("a", "{}", ""), ("b", "", "swapped?")]
        add_metadata(ledger, number, metadata)
        add_list(ledger, number, listed("a", "b", "c"))
        assert [job.key for job in ledger.due(-1, 9)] == ["a"]
        assert [row.error for row in report_rows(ledger)] == [
            "no position: swapped?",
            "no position: no row of this id",
        ]


def test_a_list_has_a_name_when_it_is_read_to_its_end(tmp_path):
    def broken():
        yield from listed("a", "b")
        raise ValueError("a damaged row")

    with Ledger(tmp_path) as ledger:
        assert take(ledger, listed("a"), source="first") == ["a"]
        assert source_of(ledger) == "first"
        number = begin(ledger)
        with pytest.raises(ValueError, match="damaged"):
            add_list(ledger, number, broken(), source="second")
        assert source_of(ledger) == ""
        assert take(ledger, listed("a", "b"), source="third") == ["a", "b"]


def test_an_error_undoes_its_transaction(tmp_path):
    with Ledger(tmp_path) as ledger:
        take(ledger, listed("a"))
        with pytest.raises(OSError, match="no such table"), ledger.change() as run:
            [run(f"DELETE FROM {table}") for table in ("photos", "nowhere")]
        assert count_due(ledger) == 1


def test_one_download_at_a_time(tmp_path):
    with Ledger(tmp_path), pytest.raises(ValueError, match="another download"):
        Ledger(tmp_path)
    with Ledger(tmp_path):
        pass


def test_a_full_disk_is_an_os_error(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.ask("PRAGMA max_page_count = 30")
        with pytest.raises(OSError, match="full; see that the disk has room"):
            take(ledger, listed(*(f"p{i}" for i in range(5000))))
    with Ledger(tmp_path) as ledger:
        assert len(take(ledger, listed("a", "b"))) == 2


def test_files_that_are_no_ledger(tmp_path):
    (tmp_path / "ledger.sqlite").write_bytes(b"no database at all" * 1000)
    with pytest.raises(ValueError, match="no ledger, or damaged"):
        Ledger(tmp_path)
    (tmp_path / "ledger.sqlite").unlink()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(ValueError, match="another version"):
        Ledger(tmp_path)


def test_photos_and_shards_do_not_mix(tmp_path):
    with Ledger(tmp_path, samples_per_shard=5):
        pass
    with pytest.raises(ValueError, match="--samples_per_shard 5"):
        Ledger(tmp_path)
    with Ledger(tmp_path, samples_per_shard=5):
        pass


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_million_rows_take_no_more_memory_than_ten_thousand(tmp_path):
    """Run with `make slow`; takes two minutes. The peak of a process of its own, MB."""
    peaks = {}
    for count in (10_000, 1_000_000):
        command = [sys.executable, "-c", A_LONG_LIST, str(tmp_path / str(count)), str(count)]
        peaks[count] = int(subprocess.run(command, capture_output=True, check=True).stdout)
    assert peaks[1_000_000] <= 500
    assert peaks[1_000_000] <= peaks[10_000] + 100  # caches fill, and that is all
