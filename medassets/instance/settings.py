"""`dagster.yaml` of a home: written where it is missing, renewed where the user never changed it."""

import hashlib
import json
import re
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from medassets.errors import ForeignFileError
from medassets.storage.atomic import publish_bytes
from medassets.storage.ownership import content_says
from medassets.storage.unreadable import read_regular

SHIPPED_DIGESTS = (
    "f77153ee3f492de260af2c575edecde2a17f8b53c02bc979e5ece23620b4b80d",
    "861d0c1d1afeb9d29a2f278e1e1e7d8f5a099171dc2cf461688211c0563a7094",
    "6f68e8a2ec5ea866b8e332c553c86f955a316efe0402c763f835c45a25629ef1",
    "9b7f14e58305e73f883e3cfe37dbb773ecda49502a93ba4cb0f9500176f9b731",
)
"""SHA-256 of every `dagster.yaml` that this package has shipped, the present one last."""

_STORAGE = re.compile(
    rb"\n# Written by `medassets up --postgres`\.\n"
    rb'storage:\n  postgres:\n    postgres_url: ("(?:[^"\\\n]|\\.)*")\n\Z'
)
_LAUNCHER = {"module": "medassets.instance.launcher", "class": "LocalRunLauncher"}


def write_settings(home: Path, *, postgres_url: str = "") -> None:
    """Give a home the settings of this version, unless the user changed its own.

    Args:
        home: Folder of the instance.
        postgres_url: Database that replaces the one noted in the file; empty keeps that.

    Raises:
        ForeignFileError: If `postgres_url` is to be noted in a file that the user changed.
        OSError: If the file cannot be written.
    """
    path = home / "dagster.yaml"
    # Dagster would wait for the writer of a pipe.
    old = read_regular(path) if path.exists() else b""
    new = _shipped() + _format_storage(postgres_url or read_postgres_url(old))
    if new == old:
        return
    # A file of the user's own stays, and another process may write the same one first.
    with suppress(*() if postgres_url else (ForeignFileError,)):
        publish_bytes(path, new, is_ours=content_says(is_shipped))
        if read_postgres_url(new):
            # The address may hold a password.
            path.chmod(0o600)


def is_shipped(content: bytes) -> bool:
    """Tell whether a `dagster.yaml` is as a version of this package wrote it."""
    return hashlib.sha256(_STORAGE.sub(b"", content)).hexdigest() in SHIPPED_DIGESTS


def read_postgres_url(content: bytes) -> str:
    """Return the database that `medassets up --postgres` noted in a `dagster.yaml`, or nothing."""
    found = _STORAGE.search(content)
    return json.loads(found[1]) if found else ""


def list_lacking(home: Path) -> list[str]:
    """Return what a user's own `dagster.yaml` lacks for running unattended, one sentence each."""
    try:
        settings = yaml.safe_load(read_regular(home / "dagster.yaml"))
    except (OSError, yaml.YAMLError):
        # Opening the instance tells what is wrong with it.
        return []
    return list(_find_lacking(settings if isinstance(settings, dict) else {}))


def _find_lacking(settings: dict[str, Any]) -> list[str]:
    launcher, monitoring = settings.get("run_launcher"), settings.get("run_monitoring")
    queue = settings.get("run_queue") or _config_of(settings.get("run_coordinator"))
    lacking: list[str] = []
    if launcher != _LAUNCHER:
        text = ", ".join(f"{name}: {value}" for name, value in _LAUNCHER.items())
        lacking.append(f"`run_launcher: {{{text}}}`: a run whose process is killed stays started")
    if not (isinstance(monitoring, dict) and monitoring.get("enabled")):
        lacking.append("`run_monitoring: {enabled: true}`: no killed run is looked for")
    if not (isinstance(queue, dict) and queue.get("max_user_code_failure_retries")):
        lacking.append(
            "`run_queue: {max_user_code_failure_retries: 20, user_code_failure_retry_delay: 10}`: "
            "every queued run fails when the code server dies"
        )
    return lacking


def _config_of(section: object) -> object:
    return section.get("config") if isinstance(section, dict) else None


def _shipped() -> bytes:
    return (files("medassets.instance") / "dagster.yaml").read_bytes()


def _format_storage(url: str) -> bytes:
    if not url:
        return b""
    lines = [
        "",
        "# Written by `medassets up --postgres`.",
        "storage:",
        "  postgres:",
        # JSON text is YAML text.
        f"    postgres_url: {json.dumps(url)}",
        "",
    ]
    return "\n".join(lines).encode()
