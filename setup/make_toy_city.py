"""Make a SYNTHETIC set of places: a made-up town, photographed by day and by night.

    python -m setup.make_toy_city --output DIR [--blocks 3 3 --night_share 0.5]

What it holds: data/toy/city.py.
"""

import argparse
import sys
from pathlib import Path

from data.toy.city import make_toy_city


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m setup.make_toy_city",
        description=(__doc__ or "").splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, help="empty folder for the set")
    add("--blocks", type=int, nargs=2, default=(3, 3), help="of each district, east and north")
    add("--step_m", type=float, default=10.0, help="between places of the database, m")
    add("--queries", type=int, default=300, help="in each split")
    add("--size", type=int, nargs=2, default=(160, 224), help="height and width of a photo, px")
    add("--night_share", type=float, default=0.0, help="share of queries taken by night")
    add("--seed", type=int, default=0, help="of town and photos")
    options = vars(parser.parse_args(arguments))
    options |= {name: tuple(options[name]) for name in ("blocks", "size")}
    try:
        counts = make_toy_city(**options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    listed = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    print(f"synthetic photos in {options['output']}: {listed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
