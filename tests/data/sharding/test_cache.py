"""The cache of fetched shards, where the remote tests do not reach."""

import threading

import pytest

from data.sharding.cache import ShardCache


def test_what_a_killed_fetch_left_takes_no_room(tmp_path):
    cache = ShardCache(tmp_path, limit_bytes=150)
    (tmp_path / "aa.tar.100.part").write_bytes(b"half")
    opened = []

    def fetch():
        opened.append(cache.open("aa.tar", 100, lambda part: part.write_bytes(b"x" * 100)))

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    thread.join(5)
    assert opened, "it waits for itself"
    with opened[0] as file:
        assert file.read() == b"x" * 100
    assert not list(tmp_path.glob("*.part"))


def test_a_shard_larger_than_the_cache_is_refused(tmp_path):
    with pytest.raises(ValueError, match="give it more by cache_bytes"):
        ShardCache(tmp_path, 10).open("a.tar", 11, lambda part: None)
