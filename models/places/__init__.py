"""A photo to the descriptor of its place."""
