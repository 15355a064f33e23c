"""Scene classifiers: what kind of place a photo shows."""
