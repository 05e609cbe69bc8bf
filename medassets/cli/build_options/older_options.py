"""Options of the scripts that people used before, and what to type in their place."""

from collections.abc import Mapping

import click

REPLACEMENTS: Mapping[str, str] = {
    "--checkpoint-file": "leave it out: a build always continues where the last one stopped",
    "--data-dir": "the declaration names the folder: medassets init FOLDER",
    "--data-folder": "the declaration names it: medassets init --data-folder FOLDER",
    "--gpu-encode-clip": "--set clips=reencode --set clip_encoder=h264_nvenc",
    "--labels-file": "the declaration names it: medassets init --labels-file FILE",
    "--meta-file": "the declaration names it: medassets init --meta-file FILE",
    "--repo-id": "--set repo_id=ORG/NAME, before the first plan",
    "--reports-file": "the declaration names it: medassets init --reports-file FILE",
    "--resume": "leave it out: a build always continues where the last one stopped",
    "--temp-dir": "staging is in $MEDASSETS_HOME/staging; make that a link to another disk",
    "--test-mode": "--limit 100",
    "--token": "put it into the variable HF_TOKEN",
    "--videos-dir": "the declaration names it: medassets init --videos-dir FOLDER",
    "--window-types": "--windows lung,bone",
}
"""Option as the scripts have it, with hyphens -> what replaces it."""


def explain_older(error: click.ClickException) -> str:
    """Return what replaces an option that only the older scripts have; empty for other errors."""
    if not isinstance(error, click.NoSuchOption):
        return ""
    remedy = REPLACEMENTS.get(error.option_name.replace("_", "-"))
    return f"in place of {error.option_name}: {remedy}" if remedy else ""
