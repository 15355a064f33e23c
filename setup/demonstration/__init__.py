"""The parts of `setup.demo`."""
