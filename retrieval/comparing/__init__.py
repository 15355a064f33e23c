"""The parts of `retrieval.compare`."""
