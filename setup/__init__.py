"""Fetch and prepare photographs: downloads, packing, the demo."""
