"""Fixes on a map, in one HTML file."""
