"""The parts of `setup.build_shards` and `setup.import_msgpack`."""
