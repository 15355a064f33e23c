"""Cut the globe into S2 cells that hold similar numbers of photos."""
