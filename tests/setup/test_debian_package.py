"""Debian packages from an apt of our own: a script on the PATH that answers as apt-get does."""

import os
import stat
import subprocess

import pytest

from setup import debian_package
from setup.debian_package import PackageError, fetch, main

APT = """#!/bin/sh
echo "$*" >> {log}
case "$*" in
*"update"*) touch {folder}/updated; exit {update_status};;
*"--print-uris"*)
    if {known}; then echo "'http://deb/x.deb' x_1_all.deb {size} SHA256:0"; fi;;
*"download"*)
    if {works}; then cp {folder}/x.deb x_1_all.deb; exit; fi
    echo "E: Failed to fetch" >&2; exit 100;;
esac
"""
DPKG = """#!/bin/sh
if [ "$(cat "$2")" = damaged ]; then echo "dpkg-deb: error: not a Debian archive" >&2; exit 2; fi
mkdir -p "$3/usr/share/x" && cp "$2" "$3/usr/share/x/file"
"""


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """Put an apt-get on the PATH; returns a function that sets how it answers, and its log."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "x.deb").write_text("content")

    def answer(known="true", works="true", size=7, update_status=0):
        log = tools / "log"
        settings = {"known": known, "works": works, "size": size, "update_status": update_status}
        for name, text in (("apt-get", APT), ("dpkg-deb", DPKG)):
            script = tools / name
            is_apt = name == "apt-get"
            script.write_text(text.format(log=log, folder=tools, **settings) if is_apt else text)
            script.chmod(script.stat().st_mode | stat.S_IXUSR)
        return log

    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(debian_package.time, "sleep", lambda _: None)
    answer()
    return answer


def test_a_package_is_unpacked_once(apt, tmp_path):
    log = apt()
    tree = fetch("some-data", tmp_path / "out")
    assert tree == tmp_path / "out" / "some-data"
    assert (tree / "usr/share/x/file").read_text() == "content"
    assert list((tmp_path / "out").iterdir()) == [tree]
    calls = log.read_text()
    assert "update" not in calls
    assert fetch("some-data", tmp_path / "out") == tree
    assert log.read_text() == calls


def test_unknown_lists_are_fetched_beside_the_machines(apt, tmp_path, capsys):
    """Apt knows the package once its lists are updated, into a folder of ours."""
    folder = tmp_path / "tools"
    log = apt(known=f"[ -e {folder}/updated ]", update_status=100)
    tree = fetch("some-data", tmp_path / "out")
    assert (tree / "usr/share/x/file").exists()
    calls = log.read_text().splitlines()
    assert "Dir::State::Lists" not in calls[0]
    assert all(f"Dir::State::Lists={tmp_path / 'out'}" in call for call in calls[1:])
    assert "update" in calls[1]
    assert "lists of our own" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"known": "false"}, "hold no package some-data"),
        ({"works": "false"}, r"downloading x_1_all\.deb failed: E: Failed to fetch"),
        ({"size": 10**15}, "MiB are needed"),
    ],
)
def test_what_apt_cannot_do(apt, tmp_path, answers, message):
    apt(**answers)
    with pytest.raises(PackageError, match=message):
        fetch("some-data", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_archive(apt, tmp_path):
    (tmp_path / "tools" / "x.deb").write_text("damaged")
    with pytest.raises(PackageError, match=r"unpacking x_1_all.* not a Debian archive"):
        fetch("some-data", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_machine_without_apt(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackageError, match="apt-get is not on this machine"):
        fetch("some-data", tmp_path / "out")


@pytest.mark.parametrize("name", ["../up", "-o=x", "a b", "A", "", "x;y", "."])
def test_names_that_are_no_package(apt, tmp_path, name):
    log = apt()
    with pytest.raises(PackageError, match="no Debian package name"):
        fetch(name, tmp_path / "out")
    assert not log.exists()


def test_command_line(apt, tmp_path, monkeypatch, capsys):
    words = ["debian_package", "some-data", "--output", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", words)
    main()
    assert str(tmp_path / "out" / "some-data") in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", [words[0], "No Package", *words[2:]])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.slow
def test_the_real_package(tmp_path):
    """Needs a Debian machine with network: some 60 MB."""
    from setup.demonstration.qt_resources import QtResources

    if subprocess.run(["which", "apt-get"], capture_output=True).returncode:
        pytest.skip("no apt-get here")
    try:
        tree = fetch("gcompris-qt-data", tmp_path)
    except PackageError as error:
        pytest.skip(str(error))
    (path,) = tree.rglob("explore_monuments.rcc")
    resources = QtResources.open(path)
    photos = [name for name in resources.files if name.endswith(".webp")]
    assert photos
    assert all(resources.read(name)[8:12] == b"WEBP" for name in photos)
