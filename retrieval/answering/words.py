"""An answer in a few lines, for people."""

from retrieval.answering.fix import Fix


def distance(km: float) -> str:
    """A distance for people: metres below one kilometre, no digits that mean nothing."""
    return f"{km * 1000:.0f} m" if km < 1 else f"{km:.1f} km" if km < 10 else f"{km:,.0f} km"


def describe(photo: str, fix: Fix, matches: int = 3, cells: int = 3) -> str:
    """Write an answer in a few lines."""
    sure = {
        "street": f"a wrong match looks this good in {1 - fix.confidence:.0%} of cases",
        "cell": f"confidence {fix.confidence:.0%}",
        "unknown": f"nothing reliable; best guess {fix.confidence:.0%}",
    }[fix.level]
    lines = [
        photo,
        f"  {fix.level:8}{fix.lat:.4f}, {fix.lon:.4f}  within {distance(fix.radius_km)} ({sure})",
        f"  region  {fix.mass:.0%}: {len(fix.cells)} cells"
        + ("" if fix.calibrated else " (unchecked)"),
    ]
    lines += [
        f"    cell  {c.token:8} {c.probability:6.1%}  {c.lat:.2f}, {c.lon:.2f}"
        for c in fix.cells[:cells]
    ]
    lines += [
        f"    match {m.score:.3f}  {m.key}  {m.lat:.4f}, {m.lon:.4f}  "
        + ", ".join(str(m.facts[name]) for name in ("author", "licence") if name in m.facts)
        for m in fix.matches[:matches]
    ]
    lines += [f"  scene   {name} {p:.0%}" for name, p in fix.scene.items() if p >= 0.5]
    return "\n".join(lines + [f"  note    {note}" for note in fix.notes])
