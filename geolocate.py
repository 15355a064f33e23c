"""Where was this photo taken? Coarse to fine: cells of the globe, a region, a street position.

    python geolocate.py PHOTO... --model runs/NAME [--gallery DIR] [--map out.html] [--json]
        [--place_model DIR] [--rerank_model DIR --images DIR]

From Python:

    from geolocate import Geolocator
    locator = Geolocator.load("runs/demo", gallery="galleries/landmarks")
    fix = locator.locate("photo.jpg")
    fix.lat, fix.lon, fix.radius_km, fix.level

Nothing heavy is imported before it is needed, and torch not at all where the bundle has an ONNX
file and no place model or re-ranker is named. No image is kept, and a position in the photo's own
EXIF is neither used nor shown.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from partitioning.area_flag import joined_areas

if TYPE_CHECKING:
    from models.bundles.bundle import Bundle
    from models.bundles.session import Encoding, Pixels, Session
    from retrieval.answering.decision import Street, World
    from retrieval.answering.fix import Fix
    from retrieval.area import Area

DEMO_MODEL, DEMO_GALLERY = Path("runs/demo"), Path("galleries/landmarks")


class Geolocator:
    """A model, and perhaps a gallery, ready to answer. Make one with `load`.

    Args:
        session: encodes photos.
        world: the model's cells and calibration.
        street: the gallery.
        precision_cap_km: no answer is finer than this radius; 0 = no cap.
    """

    def __init__(
        self,
        session: Session,
        world: World,
        street: Street | None = None,
        precision_cap_km: float = 0.0,
    ) -> None:
        check_cap(precision_cap_km)
        self.session = session
        self.world = world
        self.street = street
        self.precision_cap_km = precision_cap_km

    @classmethod
    def load(
        cls,
        model: str | Path,
        gallery: str | Path | None = None,
        engine: str = "auto",
        precision_cap_km: float = 0.0,
        place_model: str | Path | None = None,
        rerank_model: str | Path | None = None,
        images: str | Path | None = None,
        rerank_top: int | None = None,
    ) -> Geolocator:
        """Load a model bundle and, where one is named, a gallery.

        Args:
            model: bundle directory, made by train_vit.py, or `owner/name` on the model hub.
            gallery: gallery directory, made by retrieval.index with the same model.
            engine: "onnx", "torch" or "auto" (ONNX where the bundle has it).
            precision_cap_km: an operator's cap on precision; 0 = none.
            place_model: what described the gallery's photos, where the bundle did not: a directory
                made by retrieval.train. Cells are still the bundle's.
            rerank_model: directory made by retrieval.train_geowarp, to re-rank matches with.
            images: folder of the gallery's photos, which the re-ranking looks at.
            rerank_top: matches that are re-ranked; None = 5.

        Raises:
            FileNotFoundError: the bundle is not there, or the hub does not give it.
            ValueError: a model or the gallery is damaged, they do not belong together, or a bad
                cap.
        """
        check_cap(precision_cap_km)
        from concurrent.futures import ThreadPoolExecutor

        from models.bundles.hub import from_pretrained, is_hub_id
        from models.bundles.session import engine_of, open_session, warm_up
        from retrieval.answering.street_sources import StreetSources

        sources = StreetSources(
            _folder(gallery), _folder(place_model), _folder(rerank_model), _folder(images),
            rerank_top,
        )  # fmt: skip
        model = from_pretrained(model).path if is_hub_id(model) else Path(model)
        chosen = engine_of(model) if engine == "auto" else engine
        # Another thread imports the engine and opens it while this one reads cells and gallery.
        with ThreadPoolExecutor(1) as beside:
            beside.submit(warm_up, chosen)
            from models.bundles.bundle import Bundle

            bundle = Bundle.open(model)
            session = beside.submit(open_session, bundle, chosen)
            world = _world(bundle)
            if sources.needs_torch:
                session.result()  # two threads that import torch at once stumble over each other
            street = sources.open(bundle.model_sha256, world)
        return cls(session.result(), world, street, precision_cap_km)

    def locate(
        self,
        photo: str | Path | bytes | Pixels,
        mass: float = 0.95,
        top_k: int = 20,
        area: Area | None = None,
        seg: str | Path | None = None,
    ) -> Fix:
        """Say where a photo was taken.

        Args:
            photo: a file, its bytes, or decoded pixels uint8 `(H, W, 3)`.
            mass: probability with which the region is to hold the truth.
            top_k: gallery matches to return.
            area: (west, south, east, north), degrees: look inside it only.
            seg: class-index PNG of the photo, for a model that reads one.

        Raises:
            ImageError: the photo (or map) cannot be decoded; a ValueError naming the file.
            ValueError: an argument is out of range.
            OSError: the file cannot be read.
        """
        return self.decide(self.encode(photo, seg), mass, top_k, area)

    def encode(self, photo: str | Path | bytes | Pixels, seg: str | Path | None = None) -> Encoding:
        """Run the models on a photo; arguments and errors as in `locate`."""
        from data.images import decode_seg, read_bytes
        from retrieval.answering.query import Query

        query = Query.of(photo)
        rgb = query.pixels()
        seg_map = None if seg is None else decode_seg(read_bytes(Path(seg)), str(seg))
        encoding = self.session.encode(rgb, seg_map)
        return encoding if self.street is None else self.street.encode(encoding, query)

    def decide(
        self,
        encoding: Encoding,
        mass: float = 0.95,
        top_k: int = 20,
        area: Area | None = None,
    ) -> Fix:
        """Turn an encoding into a fix; arguments and errors as in `locate`.

        Raises:
            ValueError: an area under a cap, which rectangle by rectangle tells what the cap hides.
        """
        from retrieval.answering.decision import decide
        from retrieval.answering.precision_cap import capped, check_uncapped

        check_uncapped(area, self.precision_cap_km)
        fix = decide(encoding, self.world, self.street, mass, top_k, area)
        return capped(fix, self.precision_cap_km)


def _world(bundle: Bundle) -> World:
    from retrieval.answering.decision import World

    scenes = bool(bundle.config["origin"].get("scene labels", 0))
    return World(bundle.partition, bundle.levels, bundle.calibration, scenes)


def _folder(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Say where photos were taken.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("photos", nargs="+", metavar="PHOTO", help="image files")
    add("--model", type=Path, default=DEMO_MODEL, metavar="DIR", help="model bundle, or hub name")
    add("--gallery", type=Path, metavar="DIR", help="gallery of photos of known position; "
        f"with the demo's model, {DEMO_GALLERY} where it is there")  # fmt: skip
    add("--place_model", type=Path, metavar="DIR", help="place model that described the gallery's "
        "photos, where it was not --model")  # fmt: skip
    add("--rerank_model", type=Path, metavar="DIR", help="what retrieval.train_geowarp wrote: "
        "re-rank the first matches with it; needs --images")  # fmt: skip
    add("--images", type=Path, metavar="DIR", help="folder of the gallery's photos, for "
        "re-ranking and the map")  # fmt: skip
    # SUPPRESS: one that is given without --rerank_model must be told from one that is not.
    add("--rerank_top", type=int, default=argparse.SUPPRESS, metavar="N",
        help="matches that are re-ranked (default: 5)")  # fmt: skip
    add("--area", metavar="W,S,E,N", help="look inside this rectangle only, degrees")
    add("--mass", type=float, default=0.95, help="probability that the region holds the truth")
    add("--top_k", type=int, default=20, help="gallery matches to return")
    add("--seg", type=Path, metavar="PNG", help="class-index map, for a model that reads one")
    add("--engine", choices=("auto", "onnx", "torch"), default="auto", help="what runs the model")
    add("--precision_cap_km", type=float, default=0.0, help="no answer finer than this, and no "
        "--area; 0 = no cap")  # fmt: skip
    add("--json", action="store_true", help="print JSON, one object a line")
    add("--map", type=Path, metavar="HTML", help="write a map; with several photos, one file each")
    return parser


def parse_area(text: str) -> Area:
    """Read "W,S,E,N".

    Raises:
        ValueError: not four numbers, or no rectangle of the map.
    """
    from retrieval.area import check_area

    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"--area takes W,S,E,N in degrees, got {text!r}") from error
    check_area((west, south, east, north))
    return west, south, east, north


def check_cap(km: float) -> None:
    """Raise a ValueError unless a cap is 0 or a positive number; NaN would be no cap at all."""
    if not 0 <= km < float("inf"):
        raise ValueError(f"the precision cap must be a number of km from 0 (none) on, got {km}")


def check_request(parsed: argparse.Namespace) -> None:
    """Raise a ValueError for what no photo could be answered with, before anything is loaded."""
    check_cap(parsed.precision_cap_km)
    if parsed.area and parsed.precision_cap_km:
        from retrieval.answering.precision_cap import check_uncapped

        check_uncapped(parsed.area, parsed.precision_cap_km)
    if not 0 < parsed.mass <= 1:
        raise ValueError(f"--mass must lie in (0, 1], got {parsed.mass}")
    if parsed.top_k < 1:
        raise ValueError(f"--top_k must be 1 or more, got {parsed.top_k}")
    if parsed.seg and len(parsed.photos) > 1:
        raise ValueError("--seg is the map of one photo: give one photo at a time")


def main(arguments: list[str] | None = None) -> int:
    """Answer from the command line; a photo that cannot be read does not stop the others."""
    parsed = build_parser().parse_args(joined_areas(arguments))
    gallery, failed = parsed.gallery, 0
    if gallery is None and parsed.model == DEMO_MODEL and DEMO_GALLERY.is_dir():
        gallery = DEMO_GALLERY
    try:
        check_request(parsed)
        area = None if parsed.area is None else parse_area(parsed.area)
        locator = Geolocator.load(
            parsed.model, gallery, parsed.engine, parsed.precision_cap_km, parsed.place_model,
            parsed.rerank_model, parsed.images, vars(parsed).get("rerank_top"),
        )  # fmt: skip
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for photo in parsed.photos:
        try:
            fix = locator.locate(photo, parsed.mass, parsed.top_k, area, parsed.seg)
            report(photo, fix, parsed)
        except (OSError, ValueError) as error:
            named = "" if photo in str(error) else f"{photo}: "
            print(f"error: {named}{error}", file=sys.stderr)
            failed += 1
    return 2 if failed else 0


def report(photo: str, fix: Fix, parsed: argparse.Namespace) -> None:
    """Print one answer, and write its map where asked."""
    if parsed.json:
        import json

        print(json.dumps({"photo": photo, **fix.as_dict()}))
    else:
        from retrieval.answering.words import describe

        print(describe(photo, fix))
    if parsed.map:
        from retrieval.mapping.fix_map import map_paths, write_fix_map

        path = map_paths(parsed.map, parsed.photos)[photo]
        write_fix_map(path, fix, Path(photo), parsed.images)
        print(f"map: {path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
