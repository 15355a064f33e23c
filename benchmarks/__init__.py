"""One runnable script for each claim of speed; each prints its ratio to a named alternative."""
