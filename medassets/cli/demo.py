"""`medassets demo`: the whole way on data made on the spot, from a local Hub to a manifest."""

import os
import time
from pathlib import Path

import click

from medassets.cli.console import Output
from medassets.cli.runner import BuildOptions, build_dataset
from medassets.cli.session import Session, ensure_dagster_home
from medassets.storage.paths import medassets_home
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub

DATASET = "demo_ct"
_PORT = 8751


@click.command(name="demo")
@click.option("--num-patients", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option("--serve", is_flag=True, help="Keep the local Hub running for builds from the UI.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(num_patients: int, *, serve: bool, as_json: bool) -> int:
    """Make a small CT-RATE-like dataset, serve it from a local Hub, and build it through Dagster."""
    output = Output(as_json)
    folder = make_demo_repository(num_patients=num_patients)
    # 0 lets the system choose: two demos on one machine do not meet.
    with LocalHub(folder, "medassets/demo-ct", port=_PORT if serve else 0) as hub:
        os.environ["MEDASSETS_DEMO_HUB"] = hub.endpoint
        output.say(f"local Hub: {hub.endpoint}, commit {hub.sha[:12]}, files in {folder}")
        session = Session()
        code = build_dataset(session, output, DATASET, BuildOptions())
        _tell_where(output, session)
        if serve:
            _wait(output, hub)
    return code


def make_demo_repository(*, num_patients: int) -> Path:
    """Return the folder of the demo's repository, made if it is not there yet."""
    folder = medassets_home() / "demo_repository" / f"{num_patients}_patients"
    if not (folder / "dataset").exists():
        making = folder.with_name(f".{folder.name}.{os.getpid()}")
        make_ct_rate_repository(
            making, num_patients=num_patients, shape_range=((96, 96, 40), (160, 160, 80))
        )
        making.rename(folder)
    return folder


def _tell_where(output: Output, session: Session) -> None:
    paths = session.workspace(DATASET).paths
    home = ensure_dagster_home()
    output.say("")
    output.say(f"shards, manifests, catalog:  {paths.folder}")
    for shard in sorted(paths.folder.glob("*/shard-*.tar")):
        output.say(f"  {shard.relative_to(paths.folder)}  {shard.stat().st_size:,} bytes")
    output.say("")
    output.say("look into one:    medassets inspect " + str(paths.shard("train-000000")))
    output.say("see the states:   medassets status " + DATASET)
    output.say(f"open the UI:      MEDASSETS_HOME={medassets_home()} medassets ui")
    output.say(f"                  then http://127.0.0.1:3000 (Dagster instance: {home})")
    output.say("build from the UI as well:  medassets demo --serve  (keeps the local Hub running)")


def _wait(output: Output, hub: LocalHub) -> None:
    output.say(f"serving {hub.endpoint} until Ctrl-C")
    while True:
        time.sleep(3600)
