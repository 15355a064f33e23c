"""The parts of `retrieval.leak_audit`."""
