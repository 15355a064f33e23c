"""The parts of `retrieval.night_report`."""
