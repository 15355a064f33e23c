"""The parts of `retrieval.train_geowarp`, and its re-ranker."""
