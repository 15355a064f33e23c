"""A training set with the photos of another: day and night of the same streets, for instance.

The other set has the same layout and its own positions, such as the night copy that `python -m
models.unit translate` writes. Its photos become further queries, further photos of the database,
or both, and the positives are found anew: a night query then has day photos as positives.
"""

from pathlib import Path

import numpy as np

from data.places import Photos, Places, read_places

JOINED_TO = ("queries", "database", "both")


def read_training_places(
    directory: str | Path,
    extra: str | Path = "",
    extra_to: str = "queries",
    radius_m: float | None = None,
) -> Places:
    """Read the training split of a set of places, and of another that is added to it.

    Args:
        directory: The set.
        extra: The other set; "" adds nothing.
        extra_to: What its queries (and, for the database, its database) are added to.
        radius_m: How near a positive is; None as `read_places`.

    Raises:
        ValueError: as `read_places`, of either set; they lie in different UTM zones; or a photo is
            in both.
    """
    if not extra:
        return read_places(directory, "train", radius_m)
    # What has no positive is dropped once they are together.
    places = read_places(directory, "train", radius_m, drop_without_positive=False)
    other = read_places(extra, "train", radius_m, drop_without_positive=False)
    return joined_places(places, other, extra_to)


def joined_places(places: Places, other: Places, to: str = "queries") -> Places:
    """Add the photos of `other`: its queries to the queries, its database to the database, or both.

    Queries without a positive are dropped and counted, as for training.

    Raises:
        ValueError: as `read_training_places`, or an unknown `to`.
    """
    if to not in JOINED_TO:
        raise ValueError(f"photos are joined to {', '.join(JOINED_TO)}, got {to!r}")
    queries = together(places.queries, other.queries) if to != "database" else places.queries
    database = together(places.database, other.database) if to != "queries" else places.database
    return Places.of(database, queries, places.radius_m, drop_without_positive=True)


def together(photos: Photos, others: Photos) -> Photos:
    """Photos of both, the first ones first.

    Raises:
        ValueError: a file is in both.
    """
    doubled = set(photos.paths) & set(others.paths)
    if doubled:
        raise ValueError(f"{min(doubled)} is in both sets; name another set to add")
    return Photos(
        [*photos.paths, *others.paths],
        np.concatenate([photos.utm_m, others.utm_m]),
        np.concatenate([photos.zones, others.zones]),
        photos.refused | others.refused,
    )
