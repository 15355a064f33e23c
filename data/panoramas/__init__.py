"""Spherical panoramas: their files, their tags, lists of them, cuts out of them."""
