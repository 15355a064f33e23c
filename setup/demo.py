"""From globe to street in ten minutes, on real data: what `make demo` runs.

    python -m setup.demo [--photos DIR]

(a) World, overhead imagery: tiles of NASA's Blue Marble train and test a small two-branch ViT from
    scratch. It interpolates between neighbouring tiles; it does not learn to place photographs.
(b) Street, photographs: landmark photos, a frozen EfficientNet-Lite, each photo located by all the
    others.
(c) One call of geolocate.py on a photo that nothing has seen.

Tiles, photographs and a trained world model that are there are kept; `--again` trains anew. Every
command that runs is printed, so that it can be run by hand.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

TILES, LANDMARKS = Path("downloads/blue-marble"), Path("downloads/landmarks")
WORLD, STREET, GALLERY = Path("runs/demo-world"), Path("runs/demo"), Path("galleries/landmarks")
PICTURES = Path("runs/demo-pictures")
TRAIN = (  # about four minutes on two cores
    "--inputs both --seg_channels 8 --img_size 32 --backbone vit_tiny_patch16_224 --no-pretrained "
    "--backbone_args patch_size=8,embed_dim=128,depth=4,num_heads=4 --lr 1e-3 --weight_decay 0.1 "
    "--scene_weight 0 --min_scale 0.6 --t_coarse 5 480 --t_middle 5 120 --t_fine 5 30"
)

console = Console(width=None if sys.stdout.isatty() else 110)


def run(*words: str | Path) -> None:
    """Print a Python command and run it; stop the demo if it fails."""
    arguments = [str(word) for word in words]
    console.print(f"$ python {' '.join(arguments)}", style="bold", highlight=False, soft_wrap=True)
    answer = subprocess.run([sys.executable, *arguments], check=False)
    if answer.returncode:
        raise SystemExit(f"error: `python {' '.join(arguments)}` failed; see above")


def world(epochs: int) -> None:
    """Cut tiles, train from scratch, test beside the prior, draw."""
    console.rule("(a) world, overhead imagery: Blue Marble tiles, a ViT from scratch")
    if not (TILES / "test" / "manifest.parquet").exists():
        run("-m", "setup.blue_marble", "--output", TILES)
    if not (WORLD / "config.json").exists():
        run(
            "train_vit.py", "--data", TILES, "--out", WORLD, "--epochs", str(epochs), *TRAIN.split()
        )
    run("test_vit.py", "--model", WORLD, "--shards", TILES / "test")
    console.print(
        "Overhead imagery: test tiles share no pixel with training tiles but lie among them. The "
        "model interpolates;\nfrom these figures nothing follows for photographs, or for unseen "
        "regions."
    )
    run("-m", "partitioning.picture", WORLD / "cells.parquet", "--output", PICTURES / "cells.png")
    from setup.demonstration.pictures import draw_world

    draw_world(WORLD / "test" / "predictions.csv", TILES / "test", PICTURES / "world.png")


def street(photos: Path | None) -> None:
    """Fetch landmark photos, locate each by all the others, write model, gallery and maps."""
    from rich.progress import track

    from setup.demonstration.leave_one_out import leave_one_out
    from setup.demonstration.pictures import draw_street
    from setup.demonstration.street_demo import build_street_model, encode_landmarks
    from setup.demonstration.street_report import print_report, summarise, write_report

    console.rule("(b) street, photographs: landmarks, EfficientNet-Lite, leave-one-out")
    if not (LANDMARKS / "landmarks.csv").exists():
        source = ("--photos", photos) if photos else ()
        run("-m", "setup.landmarks", "--output", LANDMARKS, *source)
    encoded = encode_landmarks(LANDMARKS)
    build_street_model(encoded, STREET, GALLERY)
    total = len(encoded.table)
    queries = track(leave_one_out(encoded), "locate each photo by the others", total)
    outcomes = list(queries)
    figures = summarise(outcomes)
    print_report(figures, console)
    table = encoded.table
    truths = {row.img_id: (row.lat, row.lon) for row in table.itertuples()}
    write_report(outcomes, figures, truths, LANDMARKS / "img", STREET)
    draw_street(outcomes, table, LANDMARKS / "img", PICTURES / "street.png")


def one_call() -> Path:
    """Answer one photo from the command line; return it."""
    console.rule("(c) one call")
    import pandas as pd

    queries = pd.read_csv(STREET / "queries.csv")
    first = queries[queries.known].img_id.iloc[0]
    photo = LANDMARKS / "img" / f"{first}.jpg"
    run("geolocate.py", photo, "--map", PICTURES / "answer.html")
    return photo


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(
        description="From globe to street in ten minutes, on real data.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--photos", type=Path, metavar="DIR", help="landmark photos by id, where apt is not there"
    )
    parser.add_argument("--epochs", type=int, default=8, help="passes of the world training")
    parser.add_argument("--again", action="store_true", help="start over; downloads are kept")
    parsed = parser.parse_args()
    start = time.monotonic()
    if parsed.photos and (LANDMARKS / "landmarks.csv").exists():
        raise SystemExit(f"error: {LANDMARKS} holds photos already; remove it to use --photos")
    if parsed.again:
        for directory in (WORLD, STREET, GALLERY, PICTURES):
            shutil.rmtree(directory, ignore_errors=True)
    fresh = not (WORLD / "config.json").exists()
    world(parsed.epochs)
    street(parsed.photos)
    photo = one_call()
    minutes = (time.monotonic() - start) / 60
    console.rule(f"done in {minutes:.1f} minutes")
    for what, path in (
        ("pictures", PICTURES),
        ("map of all queries", STREET / "queries.html"),
        ("a map for each known query", STREET / "maps"),
        ("map of the last answer", PICTURES / "answer.html"),
        ("figures", f"{STREET / 'figures.json'}, {WORLD / 'test' / 'report.json'}"),
    ):
        console.print(f"{what:28}{path}", highlight=False)
    summary = {"minutes": minutes, "photo": str(photo), "fresh": fresh}
    (PICTURES / "demo.json").write_text(json.dumps(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
