"""Do the splits of a set of places leak into each other?

    python -m retrieval.leak_audit --data PLACES [--model DIR --csv FILE --output DIR]

Looked for between train, val and test: the same file; the same picture saved anew; pictures that a
network finds more alike than different places of one split ever are; one author, sequence or
panorama in two splits; photos taken within --radius_m of each other. --csv tells authors and
sequences; without it, the photos.csv of setup.make_places does, where there is one. Out come
report.md, report.json and worst.png with the worst pairs. The exit status is 1 where there is a
leak, so that a build can stop at it; --allow author, for instance, reports shared authors and lets
them pass. Descriptors are kept while it runs: a run that was stopped goes on with the splits that
are left.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.bars import bar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.places.place_model import PlaceModel
    from retrieval.descriptor_cache import Engine
    from retrieval.leaks.pairs import Finding
    from retrieval.leaks.photos import SplitPhotos

ALLOWED = ("author", "sequence", "panorama")
DESCRIPTORS = "descriptors"
PHOTO_TABLE = "photos.csv"  # what setup.make_places writes
SIZE = (224, 224)  # height and width of photos for the network without --model, px


def audit(
    photos: SplitPhotos,
    model: PlaceModel,
    engine: Engine,
    output: Path,
    radius_m: float = 25.0,
    apart_m: float = 100.0,
    threshold: float = 0.0,
    allow: tuple[str, ...] = (),
    seed: int = 0,
) -> list[Finding]:
    """Look for leaks of every kind.

    Args:
        photos: Of all splits.
        model: Describes them.
        engine: How.
        output: Folder that descriptors are kept in meanwhile.
        radius_m: Photos of two splits within it show one place.
        apart_m: Photos of one split farther apart show different places.
        threshold: Cosine of near-duplicates; 0 finds it from the set.
        allow: Groups that two splits may share.
        seed: Of the sample that the threshold is found from.

    Raises:
        OSError: `output` cannot be written to.
    """
    from retrieval.leaks.copies import byte_copies, picture_copies
    from retrieval.leaks.descriptors import near_duplicates, threshold_of
    from retrieval.leaks.groups import near_splits, shared_groups

    findings = [byte_copies(photos)]
    with bar("hashes", len(photos.paths)) as advance:
        findings.append(picture_copies(photos, engine.workers, advance))
    descriptors = described(photos, model, engine, output)
    limit = threshold_of(descriptors, photos, apart_m, threshold, seed)
    findings.append(near_duplicates(descriptors, photos, limit))
    findings += [shared_groups(photos, kind, kind in allow) for kind in photos.groups]
    return [*findings, near_splits(photos, radius_m)]


def described(
    photos: SplitPhotos, model: PlaceModel, engine: Engine, output: Path
) -> NDArray[np.float16]:
    """Descriptors `(N, D)` of all photos, zeros where one cannot be read; kept split by split."""
    import numpy as np

    from data.place_sets.photos import PlacePhotos
    from partitioning.atomic_file import atomic_path
    from retrieval.descriptor_cache import describe

    everything = np.empty((len(photos.paths), model.embedder.dim), np.float16)
    for split in photos.names:
        rows = photos.rows_of(split)
        path = output / DESCRIPTORS / f"{split}-{_digest(photos, rows.tolist(), model)}.npy"
        if not path.is_file():
            paths = [photos.paths[row] for row in rows]
            with bar(f"{split}: descriptors", len(paths)) as advance:
                embedder = model.embedder.to(engine.device)
                pictures = PlacePhotos(paths, model.size)
                found = describe(embedder, pictures, None, engine, on_done=advance)[:, 0]
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, found.astype(np.float16))
        everything[rows] = np.load(path, allow_pickle=False)
    return everything


def _digest(photos: SplitPhotos, rows: list[int], model: PlaceModel) -> str:
    """Changes with the model, its size, and the photos."""
    digest = hashlib.sha256(repr((model.sha256, model.embedder.settings, model.size)).encode())
    for row in rows:
        state = photos.paths[row].stat()
        digest.update(repr((photos.paths[row].name, state.st_size, state.st_mtime_ns)).encode())
    return digest.hexdigest()[:16]


def run(options: dict[str, Any]) -> int:
    """Audit and report; returns 1 where there is a leak.

    Raises:
        ValueError, OSError: what the user gave cannot be audited.
    """
    import shutil

    from models.devices import pick_device
    from models.places.embedder import Embedder, EmbedderSettings
    from models.places.place_model import PlaceModel, load_place_model
    from retrieval.descriptor_cache import Engine
    from retrieval.leaks.photos import read_splits
    from retrieval.leaks.report import markdown, write_report

    beside = options["data"] / PHOTO_TABLE
    table = options["csv"] or (beside if beside.is_file() else None)
    photos = read_splits(options["data"], table)
    output = options["output"] or options["data"] / "leak_audit"
    if options["model"]:
        model = load_place_model(options["model"])
    else:
        model = PlaceModel(Embedder(EmbedderSettings()).eval(), SIZE, {"untrained": True})
    engine = Engine(pick_device(options["device"]), options["batch"], options["workers"])
    names = ("radius_m", "apart_m", "threshold", "seed")
    settings = {name: options[name] for name in names}
    findings = audit(photos, model, engine, output, allow=tuple(options["allow"]), **settings)
    name = options["model"] or f"frozen {model.embedder.settings.backbone}, GeM"
    facts = {"data": str(options["data"]), "model": str(name), **settings}
    write_report(output, photos, findings, facts | {"allowed": options["allow"]})
    shutil.rmtree(output / DESCRIPTORS)
    sys.stdout.write(markdown(photos, findings, {}).split("\n## ")[0].rstrip() + "\n")
    sys.stderr.write(f"results: {output}\n")
    return 1 if any(found.is_leak for found in findings) else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.leak_audit",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="set of places with two or three splits")
    add("--model", type=Path, help="of retrieval.train; by default a frozen EfficientNet-Lite0")
    add("--csv", type=Path, help="authors and sequences by file name; by default photos.csv there")
    add("--output", type=Path, help="of the report; by default PLACES/leak_audit")
    add("--radius_m", type=float, default=25.0, help="photos of two splits within it are a leak, m")
    add("--apart_m", type=float, default=100.0, help="photos of one split that show two places, m")
    add("--threshold", type=float, default=0.0, help="cosine of near-duplicates; 0 = from the set")
    add("--allow", nargs="*", default=[], choices=ALLOWED, help="what two splits may share")
    add("--device", default="auto", help="cpu, cuda, cuda:1, or auto")
    add("--batch", type=int, default=16, help="photos described at a time")
    add("--workers", type=int, default=2, help="threads that decode photos")
    add("--seed", type=int, default=0, help="of the sample for the threshold")
    options = vars(parser.parse_args(arguments))
    try:
        return run(options)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
