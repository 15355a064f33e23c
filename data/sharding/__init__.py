"""Shards on disk and elsewhere: written, joined, indexed, fetched, looked through."""
