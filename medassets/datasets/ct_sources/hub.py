"""What sources on the Hugging Face Hub share, whatever the layout of their repository."""

import re
from typing import ClassVar

from medassets.datasets.ct_sources.base import CTSource
from medassets.errors import SpecError
from medassets.sources.hub import HubSource

HUB_FIELDS = frozenset(
    {*("repo_id", "revision", "endpoint", "use_token"), *("keep_raw", "staging_budget_gb")}
)
"""Fields that every source on a hub reads."""


class HubRepository(CTSource):
    """A dataset repository; a layout is the other base of a kind of source."""

    is_local: ClassVar[bool] = False
    is_only_copy: ClassVar[bool] = False

    def check_repository(self) -> None:
        """Check the name of the repository.

        Raises:
            SpecError: Naming `repo_id`.
        """
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.spec.repo_id):
            what = f"expected '<org>/<name>' for source huggingface, got {self.spec.repo_id!r}"
            raise SpecError(field="repo_id", what=what)

    def open_files(self) -> HubSource:
        """Return the repository at the declared revision."""
        spec = self.spec
        token = None if spec.use_token else False
        return HubSource(
            spec.repo_id, revision=spec.revision, endpoint=spec.endpoint or None, token=token
        )

    def has_file(self, path: str) -> bool:
        """Return True: a commit keeps its files."""
        return True
