"""X-Robots-Tag: whom it speaks to and what it forbids."""

import pytest

from setup.download_images import download
from setup.downloading.opt_out import opt_out
from setup.downloading.settings import Settings


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], ""),
        ([""], ""),
        (["all"], ""),
        (["nofollow, noarchive"], ""),
        (["noai"], "noai"),
        (["NoImageAI"], "noimageai"),
        (["noindex"], "noindex"),
        (["noimageindex"], "noimageindex"),
        (["none"], "none"),
        (["nofollow", "noarchive , noai"], "noai"),
        (["otherbot: noai"], ""),
        (["otherbot: nofollow, noai"], ""),  # the name holds for what follows it
        (["groundfix: noai"], "noai"),
        (["Groundfix : nofollow, noindex"], "noindex"),
        (["*: noai"], "noai"),
        (["otherbot: noai, groundfix: noindex"], "noindex"),
        (["groundfix: all, otherbot: noai"], ""),
        (["otherbot: noai", "noindex"], "noindex"),  # a header of its own begins anew
        (["unavailable_after: 25 Jun 2010 15:00:00 PST"], ""),
        (["max-snippet: 20, noai"], "noai"),
        (["otherbot: max-snippet: 20, noai"], ""),
        (["noaim"], ""),
    ],
)
def test_directives(headers, expected):
    assert opt_out(headers) == expected


def test_a_photo_that_is_opted_out_is_not_kept(server, tmp_path, picture, encode):
    photo = encode(picture())
    server.answers["/no"] = server.body(photo, X_Robots_Tag="noai, noimageai")
    server.answers["/other"] = server.body(photo, X_Robots_Tag="otherbot: noai")
    server.answers["/moved"] = server.status(302, Location="/yes", X_Robots_Tag="noindex")
    server.answers["/yes"] = server.body(photo)
    rows = [(name, f"{server.root}/{name}") for name in ("no", "other", "moved", "yes")]
    settings = Settings(allow_private=True)
    report = download(rows, tmp_path, settings)
    assert [row.error for row in report.rows] == ["opted out: noai", "", "opted out: noindex", ""]
    assert not (tmp_path / "no.jpg").exists()
    server.asked.clear()
    download(rows, tmp_path, settings)
    assert not server.asked  # no is taken for an answer
