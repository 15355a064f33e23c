"""Segmentation maps: their classes, their PNGs, folders of them."""
