"""Aggregators: how a backbone's local features become one descriptor.

Two kinds. Those of *maps* take a feature map `(B, D, H, W)` of any backbone (a transformer's
patches laid out as a map); those of *tokens* take a transformer's tokens `(B, 1 + N, D)`, the class
token first. `models/places/embedder.py` pairs them with backbones.
"""

from collections.abc import Callable

from models.aggregators.aggregator import Aggregator
from models.aggregators.class_token import ClassToken
from models.aggregators.context_reweighting import ContextReweightedVLAD
from models.aggregators.mean_pools import GeMPool, MeanPool
from models.aggregators.netvlad import NetVLAD
from models.aggregators.regional_max import MaxPool, RegionalMax
from models.aggregators.residual_retrieval import ResidualRetrieval
from models.aggregators.seqpool import SeqPool

# Name on the command line -> what makes it for features of a width.
MAP_AGGREGATORS: dict[str, Callable[..., Aggregator]] = {
    "mac": MaxPool,
    "spoc": MeanPool,
    "gem": GeMPool,
    "rmac": RegionalMax,
    "netvlad": NetVLAD,
    "crn": ContextReweightedVLAD,
    "rrm": ResidualRetrieval,
}
TOKEN_AGGREGATORS: dict[str, Callable[..., Aggregator]] = {
    "cls": ClassToken,
    "seqpool": SeqPool,
}


CLUSTERED = ("netvlad", "crn")


def build_aggregator(name: str, width: int, clusters: int = 64) -> Aggregator:
    """Make an aggregator for features of `width` channels.

    Args:
        name: A key of `MAP_AGGREGATORS` or `TOKEN_AGGREGATORS`.
        width: D.
        clusters: Of those that cluster.

    Raises:
        ValueError: no such aggregator; lists those that there are.
    """
    known = MAP_AGGREGATORS | TOKEN_AGGREGATORS
    if name not in known:
        raise ValueError(f"no aggregator {name!r}; there are {', '.join(known)}")
    if name in CLUSTERED:
        return known[name](width, clusters)
    return known[name](width)
