"""The parts of `setup.download_images`."""
