"""Inpainting: paint over holes in photos, such as where passers-by stood.

Partial convolutions (Liu et al., "Image Inpainting for Irregular Holes Using Partial Convolutions",
2018, https://arxiv.org/abs/1804.07723). Trained by `python -m models.inpainting.train`; what is
painted is a guess that looks likely, never a record of what stood there.
"""
