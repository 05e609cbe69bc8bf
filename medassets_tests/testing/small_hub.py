"""Names of the small repository that the tests of the local Hub serve."""

from huggingface_hub import hf_hub_url

from medassets.testing.hub import LocalHub

REPO_ID = "org/small"
BIG = "data/deep/big file.bin"
"""Path of the one file that the CDN serves; 12,800 bytes."""


def url_of(hub: LocalHub, path: str, revision: str = "main") -> str:
    """Return the URL of a file of the repository."""
    return hf_hub_url(REPO_ID, path, repo_type="dataset", revision=revision, endpoint=hub.endpoint)
