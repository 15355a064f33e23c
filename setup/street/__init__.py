"""The parts of `setup.collect_street`: open street imagery of an area."""

from setup.street.mapillary import Mapillary
from setup.street.panoramax import Panoramax
from setup.street.source import Source

SOURCES: dict[str, type[Source]] = {"panoramax": Panoramax, "mapillary": Mapillary}
