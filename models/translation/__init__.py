"""The parts of `models.unit`: day photographs to night ones."""
