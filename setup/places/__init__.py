"""The parts of `setup.make_places`, `setup.clean_places` and `setup.inpaint_places`."""
