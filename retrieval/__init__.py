"""Search a gallery of photos of known position inside the predicted cells."""
