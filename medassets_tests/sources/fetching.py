"""Helpers that fetch a file from a hub and collect what an error shows."""

import traceback
from pathlib import Path

from medassets.samples import StagedFile
from medassets.sources.hub import HubSource

VOLUME = "vol/a.nii.gz"
TOKEN = "hf_ThisMustStaySecret"


def fetch(source: HubSource, target: Path, path: str = VOLUME) -> StagedFile:
    return source.fetch(source.describe([path], revision=None)[path], target)


def read_chain(error: BaseException) -> str:
    """Everything a log or an event could show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
