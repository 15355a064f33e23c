"""What a set of places is made of: names, protocols, photos, measures, its report."""
