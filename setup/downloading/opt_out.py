"""Whether a server asks that its picture be left out: the X-Robots-Tag header.

The directives that img2dataset honours by default (https://github.com/rom1504/img2dataset,
"Opt-out directives"): noai, noimageai, noindex, noimageindex; and none, which means noindex and
nofollow. A directive may be for one program alone, named before a colon, and the name holds for
the directives after it (https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag).
"""

from collections.abc import Iterable

AGENT = "groundfix"
DIRECTIVES = ("noai", "noimageai", "noindex", "noimageindex", "none")
# These have a value after their colon, and are no names of programs.
_VALUED = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


def opt_out(headers: Iterable[str], agent: str = AGENT) -> str:
    """The first directive that asks us to leave a picture out, in small letters; "" for none.

    Args:
        headers: the values of all X-Robots-Tag headers of one answer.
        agent: the name by which a server may address us, in small letters.
    """
    for header in headers:
        addressed = ""
        for part in header.lower().split(","):
            name, colon, directive = part.partition(":")
            if colon and name.strip() not in _VALUED:
                addressed = name.strip()
            else:
                directive = part
            if directive.strip() in DIRECTIVES and addressed in ("", "*", agent):
                return directive.strip()
    return ""
