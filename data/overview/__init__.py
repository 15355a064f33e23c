"""What shards hold, to look at: counts, sheets of photos, a map."""
