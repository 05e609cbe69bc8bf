"""Names of datasets for a shell that completes them; Dagster is not imported for that."""

import re

import click
from click.shell_completion import CompletionItem

from medassets.errors import MedassetsError
from medassets.instance.declared_files import declaration_folders, find_declarations
from medassets.storage.foreign_bytes import read_foreign

# Windows have names, too, in lists.
_NAME = re.compile(
    r"(?:^ +|^attributes:\s*\{(?:[^\n\[{]*,)?\s*)name:\s*[\"']?([a-z][a-z0-9_]*)", re.MULTILINE
)
_MOST_BYTES = 1 << 20


def complete_datasets(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the datasets whose names begin as what was typed."""
    del context, parameter
    return [CompletionItem(name) for name in list_names() if name.startswith(incomplete)]


def list_names() -> list[str]:
    """Return the names that declarations state as plain text, sorted."""
    found: set[str] = set()
    for folder in declaration_folders():
        for file in find_declarations(folder):
            try:
                text = read_foreign(file, most_bytes=_MOST_BYTES).decode("utf-8", "replace")
            except (OSError, MedassetsError):
                continue
            found.update(_NAME.findall(text))
    return sorted(found)
