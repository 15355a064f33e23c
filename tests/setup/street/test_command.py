"""The command line of `setup.collect_street`."""

import pytest

from setup.collect_street import main
from setup.street.settings import parse_arguments, plan_of, read_token

AREA = "8.0,50.0,8.02,50.005"


@pytest.fixture
def command(street, tmp_path):
    """Run the command; `command("--dry_run", area="1,2,3,4")`."""

    def run(*more, source="panoramax", area=AREA):
        server = f"{street.server.root}/api" if source == "panoramax" else street.server.root
        where = ["--source", source, "--area", area, "--out", str(tmp_path / "out")]
        return main([*where, "--server", server, "--allow_private", *more])

    return run


def test_collects(command, street, capsys):
    assert command("--dry_run") == 0
    assert "6 photos, 1 of them panoramas" in capsys.readouterr().out
    street.photos["photo0"].licence = None
    street.raw["/img/photo1"] = [street.bytes(b"garbage")]
    assert command("--refresh", "--contact", "us@example.org") == 0
    told = capsys.readouterr().out
    assert "4 photos are in" in told
    assert "refused: 1 no licence" in told
    assert "not had: 1 bad image; each one in report.csv" in told
    assert "photos.csv" in told


def test_an_empty_area_says_what_may_be_wrong(command, capsys):
    assert command(area="50.0,8.0,50.005,8.02") == 2
    assert "longitude first" in capsys.readouterr().err


def test_a_part_that_could_not_be_searched_says_how_to_go_on(command, street, capsys):
    street.raw["bbox"] = [street.json({}, 400)]
    assert command() == 2
    assert "run the same command again" in capsys.readouterr().err
    assert command() == 0


def test_the_token_of_a_file_or_the_environment(command, tmp_path, token, monkeypatch, capsys):
    path = tmp_path / "token"
    path.write_text(f"{token}\n")
    monkeypatch.setenv("MAPILLARY_TOKEN", "of-the-environment")
    assert read_token(None) == "of-the-environment"
    assert command("--token_file", str(path), source="mapillary") == 0
    for bad, said in (("", "is empty"), ("two words", "blanks"), ("é", "blanks")):
        path.write_text(bad)
        assert command("--token_file", str(path), source="mapillary") == 2
        told = capsys.readouterr()
        assert said in told.err
        assert not bad or bad not in told.err + told.out
    assert command("--token_file", str(tmp_path / "none"), source="mapillary") == 2
    assert "is it there?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "area", [["--area", "-1.7,48.1,-1.6,48.2"], ["--area=-1.7,48.1,-1.6,48.2"]]
)
def test_areas_in_the_west(area):
    options = parse_arguments(["--source", "panoramax", "--out", "x", *area], "About.")
    assert plan_of(options).boxes == ((-1.7, 48.1, -1.6, 48.2),)


def test_what_must_be_given(command, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path)])
    assert "--area" in capsys.readouterr().err
    assert main(["--out", str(tmp_path / "new"), "--refresh"]) == 2
    assert "holds no collection yet" in capsys.readouterr().err
    assert command("--max_photos", "0") == 2
    assert command("--workers", "0") == 2
