"""Model bundles by name: a folder here, or a repository on the model hub.

    from models.bundles.hub import from_pretrained
    bundle = from_pretrained("runs/demo")          a folder
    bundle = from_pretrained("owner/name")         the hub (https://huggingface.co/docs/hub), cached

A name is looked up on the hub only where no such folder is there, and no folder of the owner's name
either: a mistyped path should not leave this machine. Of a repository only a bundle's own files are
fetched, none of which can run code. HF_HUB_OFFLINE=1 answers from the cache alone; HF_HOME says
where the cache lies.
"""

import re
from pathlib import Path

from models.bundles.bundle import NEEDED, PUBLISHED, WEIGHTS, Bundle

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
OUR_FOLDERS = ("runs", "downloads", "galleries")  # of a fresh checkout, before anything has run
REFUSALS = (401, 403, 404)
WAY_OUT = (
    "Give the folder of a bundle, or fill the hub's cache where there is a connection and copy it "
    "here (HF_HOME says where it lies)"
)


def from_pretrained(
    name_or_dir: str | Path, revision: str | None = None, cache_dir: str | Path | None = None
) -> Bundle:
    """Open a bundle; the files of one from the hub are compared with the hashes in its config.

    Args:
        name_or_dir: a bundle's folder, or `owner/name` on the hub.
        revision: branch, tag or commit on the hub, default: main.
        cache_dir: of the hub's files, default: the hub's own.

    Raises:
        FileNotFoundError: neither folder nor repository can be had, or files are missing.
        ValueError: a file is unreadable or altered, or they do not belong together.
    """
    folder = bundle_folder(name_or_dir, revision, cache_dir)
    bundle = Bundle.open(folder)
    if is_hub_id(name_or_dir):
        bundle.verify()
    return bundle


def is_hub_id(name: str | Path) -> bool:
    """Whether a name is one on the hub: `owner/name`, and not a place on this machine."""
    owner = str(name).partition("/")[0]
    return (
        HUB_ID.fullmatch(str(name)) is not None
        and owner not in OUR_FOLDERS
        and not Path(name).exists()
        and not Path(owner).exists()
    )


def bundle_folder(
    name_or_dir: str | Path,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    needed: tuple[str, ...] = NEEDED,
) -> Path:
    """The folder of a bundle, downloaded where it is on the hub; a local one is not looked into.

    Args:
        name_or_dir: as in `from_pretrained`.
        revision: as in `from_pretrained`.
        cache_dir: as in `from_pretrained`.
        needed: files without which a repository is of no use.

    Raises:
        FileNotFoundError: the repository cannot be had, or lacks one of them.
    """
    if not is_hub_id(name_or_dir):
        return Path(name_or_dir)
    name = str(name_or_dir)
    folder = _snapshot(name, revision, cache_dir)
    lacking = [file for file in needed if not (folder / file).is_file()]
    if lacking:
        why = " (weights in other formats are not read)" if WEIGHTS in lacking else ""
        raise FileNotFoundError(
            f"{name} on the model hub, or its copy in the cache, lacks {', '.join(lacking)}{why}: "
            "it is no Groundfix bundle, or was fetched in part; fetch it again where there is a "
            "connection"
        )
    return folder


def _snapshot(name: str, revision: str | None, cache_dir: str | Path | None) -> Path:
    """Fetch a repository's bundle files into the cache; errors as FileNotFoundError."""
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RevisionNotFoundError

    try:
        allowed = list(PUBLISHED)
        found = snapshot_download(
            name, revision=revision, cache_dir=cache_dir, allow_patterns=allowed
        )
    except RevisionNotFoundError as error:
        raise FileNotFoundError(f"{name} on the model hub has no revision {revision}") from error
    except (OSError, HFValidationError, httpx.HTTPError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code in REFUSALS:
            raise FileNotFoundError(
                f"there is no folder {name}, and on the model hub no {name} that may be read: "
                "check the name; for a private or gated one log in with `hf auth login`"
            ) from error
        told = (str(error).strip().splitlines() or [""])[0]
        raise FileNotFoundError(
            f"there is no folder {name}, and the model hub and its cache do not give it "
            f"({type(error).__name__}: {told}). {WAY_OUT}"
        ) from error
    return Path(found)
