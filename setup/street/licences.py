"""Open licences: those whose photos may be kept, shared and built upon, also for money.

Names are those of SPDX (https://spdx.org/licenses), which both services use; the choice follows
the Open Definition's list (https://opendefinition.org/licenses). Licences that forbid changes or
commerce are not open, and no licence at all means that nothing is allowed.
"""

from typing import NamedTuple

UNKNOWN, CLOSED = "no licence", "not an open licence"


class Licence(NamedTuple):
    """An open licence, as credits name it."""

    title: str
    url: str


def _creative_commons(kind: str, version: str) -> Licence:
    url = f"https://creativecommons.org/licenses/{kind.lower()}/{version}/"
    return Licence(f"CC {kind.upper()} {version}", url)


OPEN = {
    "cc0-1.0": Licence("CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    "pddl-1.0": Licence("PDDL 1.0", "https://opendatacommons.org/licenses/pddl/1-0/"),
    "odc-by-1.0": Licence("ODC-By 1.0", "https://opendatacommons.org/licenses/by/1-0/"),
    "odbl-1.0": Licence("ODbL 1.0", "https://opendatacommons.org/licenses/odbl/1-0/"),
    "etalab-2.0": Licence("Licence Ouverte 2.0 (Etalab)", "https://spdx.org/licenses/etalab-2.0"),
    "ogl-uk-3.0": Licence(
        "Open Government Licence v3.0",
        "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/",
    ),
    "dl-de-by-2.0": Licence(
        "Datenlizenz Deutschland Namensnennung 2.0", "https://www.govdata.de/dl-de/by-2-0"
    ),
    "dl-de-zero-2.0": Licence(
        "Datenlizenz Deutschland Zero 2.0", "https://www.govdata.de/dl-de/zero-2-0"
    ),
} | {
    f"cc-{kind}-{version}": _creative_commons(kind, version)
    for kind in ("by", "by-sa")
    for version in ("2.0", "2.5", "3.0", "4.0")
}


def licence_problem(name: str) -> str:
    """Why photos under this licence are refused; "" for an open one."""
    if not name:
        return UNKNOWN
    return "" if name.lower() in OPEN else f"{CLOSED}: {name}"


def described(name: str) -> Licence:
    """Title and URL of a licence; an unknown one's own name and no URL."""
    return OPEN.get(name.lower(), Licence(name or UNKNOWN, ""))
