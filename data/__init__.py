"""Read photos and their tables, pack them into shards, stream them to a model."""
