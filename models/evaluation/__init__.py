"""Judging a geocell model: distances, intervals, calibration, reports."""
