"""The parts of `retrieval.inpainting_report`."""
