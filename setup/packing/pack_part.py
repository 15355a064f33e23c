"""Make one shard of its rows of the photo table: download, segment, describe, pack.

The step that `setup.build_shards` runs for each part, on any machine that sees the folders. The
same rows and photos give the same bytes, so a part that was stopped is simply made again; photos
that were downloaded for it are kept.
"""

import shutil

from data.sharding.part import ShardPart
from setup.packing.packed import Outcome
from setup.packing.part_photos import Photo, read_photos, reason
from setup.packing.part_plan import Part
from setup.packing.sample_metadata import metadata
from setup.packing.settings import PackSettings


def pack_part(settings: PackSettings, part: Part) -> int:
    """Make a part whole; one that is done stays as it is.

    Returns:
        The number of its rows.

    Raises:
        OSError: it cannot be written. Nothing half written stays.
        ValueError: a network cannot be had.
    """
    if part.is_done():
        return part.num_rows
    outcome, vectors = Outcome(), []
    photos = read_photos(settings, part, outcome)
    # These two import a network's framework, which packing alone can do without.
    if settings.segmenter:
        from setup.packing.draw_maps import with_maps

        photos = with_maps(photos, settings.segmenter, outcome)
    if settings.embed:
        from setup.packing.embed_photos import with_vectors

        photos = with_vectors(photos, settings.embed, outcome)
    with ShardPart(part.directory, part.name) as shard:
        for photo in photos:
            if _pack(photo, shard, outcome) and photo.vector is not None:
                vectors.append(photo.vector)
            outcome.unmapped += settings.seg is not None and photo.seg_png is None
    outcome.samples = len(shard)
    if settings.embed:
        from setup.packing.embed_photos import save_vectors

        save_vectors(part.vectors, vectors)
    outcome.write(part.outcome)
    shutil.rmtree(part.work, ignore_errors=True)
    return part.num_rows


def _pack(photo: Photo, shard: ShardPart, outcome: Outcome) -> bool:
    """Write one sample, or list why it cannot be; whether it was written."""
    row = photo.row
    try:
        shard.write(row["id"], photo.jpg, metadata(row, outcome.unreadable), photo.seg_png)
    except ValueError as error:
        outcome.refuse(row, reason(error))
        return False
    outcome.encoded += photo.is_encoded
    return True
