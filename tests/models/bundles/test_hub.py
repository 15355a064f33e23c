"""Bundles by name, from a hub's cache laid out on disk and from a hub that answers with errors.

No network: HF_HUB_OFFLINE is set (tests/conftest.py), but where a server of our own plays the hub.
"""

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import torch

from models.bundles.hub import bundle_folder, from_pretrained, is_hub_id
from models.geocell_vit import GeocellViT

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(bundle, tmp_path):
    """The hub's cache as it is after a download of owner/name: blobs, links, a ref."""
    root = tmp_path / "hub" / "models--owner--name"
    snapshot, blobs = root / "snapshots" / COMMIT, root / "blobs"
    for folder in (snapshot, blobs, root / "refs"):
        folder.mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    for file in bundle.path.iterdir():
        shutil.copy(file, blobs / f"blob-of-{file.name}")
        (snapshot / file.name).symlink_to(blobs / f"blob-of-{file.name}")
    return tmp_path / "hub"


def snapshot_of(cache):
    return cache / "models--owner--name" / "snapshots" / COMMIT


@pytest.fixture
def answering(monkeypatch):
    """`answering(status, code)`: a hub that answers everything so."""
    servers = []

    def start(status, code=""):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("X-Error-Code", code)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append((server, threading.Thread(target=server.serve_forever, args=(0.02,))))
        servers[-1][1].start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        ask = huggingface_hub.snapshot_download
        monkeypatch.setattr(
            huggingface_hub, "snapshot_download", lambda *a, **k: ask(*a, endpoint=endpoint, **k)
        )

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_bundle_comes_out_of_the_cache(bundle, cache):
    found = from_pretrained("owner/name", cache_dir=cache)
    assert found.model_sha256 == bundle.model_sha256
    assert found.path == snapshot_of(cache)


def test_the_network_comes_out_of_the_cache(bundle, cache, photos):
    local = GeocellViT.from_pretrained(bundle.path)
    remote = GeocellViT.from_pretrained("owner/name", cache_dir=cache)
    assert not remote.training
    with torch.inference_mode():
        assert torch.equal(local(*photos).cells["fine"], remote(*photos).cells["fine"])


def test_the_geolocator_takes_a_name(bundle, cache, monkeypatch):
    from geolocate import Geolocator

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    assert Geolocator.load("owner/name").session._bundle.path == snapshot_of(cache)


def test_a_folder_needs_no_hub(bundle):
    assert from_pretrained(bundle.path).path == bundle.path
    assert from_pretrained(str(bundle.path)).path == bundle.path


def test_what_counts_as_a_name_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clients" / "smith").mkdir(parents=True)
    assert is_hub_id("owner/name")
    assert is_hub_id("owner/name-1.0_b")
    for local in ("clients/smith", "clients/jones", "runs/demo", "name", "/owner/name", "../a/b",
                  "a/b/c", "~/name", "./name", "owner/", "/name", "owner/../x"):  # fmt: skip
        assert not is_hub_id(local), local


def test_offline_without_a_copy(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder owner/name, and .*HF_HOME") as caught:
        from_pretrained("owner/name", cache_dir=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "cells.parquet"])
def test_a_repository_that_lacks_a_file(name, cache):
    (snapshot_of(cache) / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"owner/name .* lacks {name}"):
        from_pretrained("owner/name", cache_dir=cache)


def test_pickled_weights_are_not_read(cache):
    """The mixin's own reader falls back to them."""
    snapshot = snapshot_of(cache)
    (snapshot / "model.safetensors").rename(snapshot / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="weights in other formats are not read"):
        GeocellViT.from_pretrained("owner/name", cache_dir=cache)


@pytest.mark.parametrize("name", ["model.onnx", "calibration.json", "model.safetensors"])
def test_an_altered_file_is_refused(name, cache):
    blob = cache / "models--owner--name" / "blobs" / f"blob-of-{name}"
    data = blob.read_bytes()
    if name == "calibration.json":
        blob.write_bytes(data.replace(b"1.5", b"1.6"))
    else:
        blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert blob.read_bytes() != data
    with pytest.raises(ValueError, match=rf"{name} not as config\.json says"):
        from_pretrained("owner/name", cache_dir=cache)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RepoNotFound", "on the model hub no owner/name that may be read"),
        (401, "", "may be read: .*hf auth login"),
        (403, "GatedRepo", "may be read: .*hf auth login"),
        (404, "RevisionNotFound", "no revision v9"),
        (500, "", "the model hub and its cache do not give it"),
    ],
)
def test_a_hub_that_refuses(status, code, message, answering, tmp_path):
    answering(status, code)
    with pytest.raises(FileNotFoundError, match=message):
        bundle_folder("owner/name", revision="v9", cache_dir=tmp_path)


def test_the_mixin_writes_what_we_read_and_reads_what_we_write(build, bundle, photos, tmp_path):
    """The network alone, by the mixin's own save and by its own, lenient load."""
    model = build("both")
    model.save_pretrained(tmp_path / "saved")
    ours = GeocellViT.from_pretrained(tmp_path / "saved")
    mixin = super(GeocellViT, GeocellViT).from_pretrained
    theirs = mixin(bundle.path, pretrained=False, strict=True)
    with torch.inference_mode():
        assert torch.equal(ours(*photos).descriptor, model(*photos).descriptor)
        assert torch.equal(
            theirs(*photos).descriptor, GeocellViT.from_pretrained(bundle.path)(*photos).descriptor
        )
