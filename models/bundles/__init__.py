"""Trained geocell models as folders: written, found, read, run."""
