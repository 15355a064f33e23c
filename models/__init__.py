"""Geocell models: backbones, two-branch fusion, heads, calibration, bundles on disk."""
