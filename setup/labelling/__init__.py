"""The parts of `setup.label_scenes`."""
