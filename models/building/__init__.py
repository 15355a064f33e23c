"""The parts of `models.building_share`."""
