"""Countries and their continents."""

import numpy as np
import pytest

from partitioning.continents import CONTINENT_OF, CONTINENTS, continents_of


def test_every_country_is_on_one_continent():
    assert len(CONTINENT_OF) == sum(map(len, CONTINENTS.values()))
    assert not any("\n" in name or "  " in name for name in CONTINENT_OF)


def test_known_ones():
    names = ["Peru", "Mexico", "Egypt", "Russia", "Turkey", "Fiji", "Antarctica", "", "Atlantis"]
    continents = ["South America", "North America", "Africa", "Europe", "Asia", "Oceania"]
    assert continents_of(np.array(names)).tolist() == [*continents, "Antarctica", "", ""]


def test_every_country_of_the_outlines_is_listed():
    outlines = pytest.importorskip("partitioning.countries", reason="no outlines of countries yet")
    lat, lon = np.meshgrid(np.arange(-89.5, 90, 3.0), np.arange(-179.5, 180, 3.0))
    found = {str(name) for name in outlines.country_of(lat.ravel(), lon.ravel())} - {""}
    assert len(found) > 100
    assert found <= set(CONTINENT_OF)
