"""The parts of `setup.segment_images`."""
