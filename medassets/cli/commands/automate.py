"""`medassets automate`: lets Dagster keep a dataset complete, or stops that."""

from typing import Literal

import click

from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output
from medassets.cli.notes.automation import describe_automation
from medassets.cli.session import Session
from medassets.datasets.automation.switch import write_switch
from medassets.datasets.workspace import Workspace

Word = Literal["on", "off", "declared"]


@click.command(name="automate")
@click.argument("dataset", shell_complete=complete_datasets)
@click.argument("word", type=click.Choice(["on", "off", "declared"]), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(dataset: str, word: Word | None, *, as_json: bool) -> int:
    """Let Dagster make the shards of DATASET by itself (on), or not (off).

    It wins over `automation` of the declaration until `declared` takes it back. Without a word, it
    says what is the case. It is noted beside the dataset's outputs, so that it survives the loss of
    Dagster's record; a running `medassets up` follows within half a minute.
    """
    output, workspace = Output(as_json), Session().workspace(dataset)
    if word is not None:
        write_switch(workspace.paths, None if word == "declared" else word)
    lines, document = describe_automation(workspace)
    for line in lines or [f"{dataset}: automation: off (declared)"]:
        output.say(line)
    if hint := _hint(workspace, is_on=document["on"]):
        output.warn(hint)
    output.result({"dataset": dataset, "automation": document})
    return 0


def _hint(workspace: Workspace, *, is_on: bool) -> str:
    spec = workspace.kind.spec
    if not is_on or spec.is_automated:
        return ""
    return (
        f"its catalog is not refreshed by schedule: declare automation: on, or start "
        f"{spec.name}_catalog_schedule in the UI"
    )
