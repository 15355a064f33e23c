"""Segmentation networks and their maps."""
