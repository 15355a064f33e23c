"""How many tiles of a panorama, how wide, undistorted or not? A study on one's own panoramas.

    python -m retrieval.panorama_study --data FOLDER_OR_CSV [...] --output DIR

Queries are pictures as a phone takes them, at random yaws of each panorama; tiles of all panoramas
are the database. Frozen descriptors, no training. Two tasks (retrieval/panoramas/scores.py): find
the same panorama again, and find the next one on the street, where positions tell which that is.
Out come study.md, study.csv and study.png. A run that was stopped goes on.
"""

import argparse
import sys
from pathlib import Path

from data.images import read_bytes
from data.panoramas.file import whole_sphere
from data.panoramas.listing import Source, find_sources
from data.panoramas.tags import read_tags
from data.photos.formats import ImageError
from models.devices import pick_device
from models.places.embedder import Embedder, EmbedderSettings
from models.places.place_model import load_place_model
from retrieval.descriptor_cache import Engine
from retrieval.panoramas.report import write_report
from retrieval.panoramas.scores import Cell, neighbours, score
from retrieval.panoramas.views import Views, describe_panoramas


def study(
    data: list[Path],
    output: Path,
    views: Views = Views(),  # noqa: B008  (immutable)
    near_m: float = 60.0,
    model: Path | None = None,
    device: str = "auto",
    batch: int = 32,
) -> list[Cell]:
    """Run the study and write its report.

    Args:
        data: Folders or CSVs of panoramas; what is none is passed by.
        output: Of the report.
        views: What to look at.
        near_m: Panoramas within it of each other show the same place.
        model: Of retrieval.train; None takes a frozen EfficientNet-Lite0 with GeM.
        device: cpu, cuda, or auto.
        batch: Pictures described at a time.

    Raises:
        ValueError: there are under three panoramas, or the model or the data cannot be read.
        OSError: `output` cannot be written to.
    """
    sources, passed_by = _panoramas(data)
    if len(sources) < 3:
        raise ValueError(
            f"{len(sources)} panoramas in {', '.join(map(str, data))}: a study needs three or more"
        )
    engine = Engine(pick_device(device), batch)
    embedder = load_place_model(model).embedder if model else Embedder(EmbedderSettings())
    embedder = embedder.to(engine.device).eval()
    described = describe_panoramas(sources, views, embedder, engine, output / "descriptors")
    is_near = neighbours(sources, near_m)
    cells = score(described, is_near, views)
    facts = {
        "data": " ".join(map(str, data)),
        "panoramas": len(sources),
        "with a neighbour": int(is_near.any(axis=1).sum()),
        "passed by": passed_by,
        "model": str(model or f"frozen {embedder.settings.backbone}, GeM"),
        "near_m": near_m,
        **views._asdict(),
    }
    write_report(output, cells, facts)
    return cells


def _panoramas(data: list[Path]) -> tuple[list[Source], int]:
    """Those that are whole and can be opened, and how many photos are not."""
    photos = [photo for path in data for photo in find_sources(path).photos]
    found = []
    for photo in photos:
        try:
            if photo.is_panorama is not False:
                whole_sphere(read_tags(read_bytes(photo.path), str(photo.path)), str(photo.path))
                found.append(photo)
        except ImageError:
            continue
    return found, len(photos) - len(found)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m retrieval.panorama_study",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add, default = parser.add_argument, Views()
    add("--data", type=Path, nargs="+", required=True, help="folders or CSVs of panoramas")
    add("--output", type=Path, required=True, help="folder of the report")
    add("--model", type=Path, help="of retrieval.train; by default a frozen EfficientNet-Lite0")
    add("--hfov_deg", type=float, nargs="+", default=default.fovs_deg, help="widths of tiles")
    add("--tiles", type=int, nargs="+", default=default.counts, help="numbers of tiles")
    add("--queries", type=int, default=default.queries, help="of each panorama")
    add("--size", type=int, nargs=2, default=default.size, help="height and width, px")
    add("--near_m", type=float, default=60.0, help="within it panoramas show the same place, m")
    add("--device", default="auto", help="cpu, cuda, cuda:1, or auto")
    add("--batch", type=int, default=32, help="pictures described at a time")
    add("--seed", type=int, default=0, help="of the queries' yaws")
    options = parser.parse_args(arguments)
    views = Views(
        tuple(options.hfov_deg), tuple(options.tiles), options.queries, tuple(options.size),
        options.seed,
    )  # fmt: skip
    try:
        study(
            options.data, options.output, views, options.near_m, options.model, options.device,
            options.batch,
        )  # fmt: skip
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write((options.output / "study.md").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
