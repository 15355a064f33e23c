"""The parts of `retrieval.panorama_study`."""
