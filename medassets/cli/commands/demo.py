"""`medassets demo`: the whole way on data made on the spot, from its source to a manifest."""

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from medassets.cli.console import Output
from medassets.cli.notes.sources import DEMO_REPOSITORY
from medassets.cli.runner import build_dataset
from medassets.cli.selection import BuildOptions
from medassets.cli.session import Session
from medassets.instance.home import ensure_dagster_home
from medassets.storage.paths import medassets_home
from medassets.storage.scratch import open_scratch
from medassets.testing.clip4mc import make_clip4mc_folder
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub

CT, VIDEO, WINDOWS = "demo_ct", "demo_video", "demo_windows"
_FIRST_SHARD = "train-000000"
_PORT = 8751


@click.command(name="demo")
@click.argument("dataset", type=click.Choice([CT, VIDEO, WINDOWS]), default=CT)
@click.option("--num-patients", type=click.IntRange(1, 100), default=3, show_default=True)
@click.option(
    "--serve",
    is_flag=True,
    help="Not of demo_video: keep the local Hub running for builds from the UI.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(dataset: str, num_patients: int, *, serve: bool, as_json: bool) -> int:
    """Make a small DATASET and build it through Dagster.

    demo_ct is laid out like CT-RATE and served from a local Hub, and demo_windows are windows of
    the same volumes; demo_video is laid out like CLIP4MC, its frames show their own numbers.
    """
    output = Output(as_json)
    ensure_dagster_home()
    if dataset == VIDEO:
        return _build_video(output)
    return _build_ct(output, dataset, num_patients, serve=serve)


def _build_video(output: Output) -> int:
    home = medassets_home()
    # The declaration looks for the videos below it, and asks for an absolute path.
    os.environ["MEDASSETS_HOME"] = str(home)
    folder = make_once(home / "demo_videos", make_clip4mc_folder)
    output.say(f"videos, info.csv and metadata.json in {folder}")
    session = Session()
    code = build_dataset(session, output, VIDEO, BuildOptions())
    if code == 0:
        _tell_where(output, session, VIDEO)
    return code


def _build_ct(output: Output, dataset: str, num_patients: int, *, serve: bool) -> int:
    folder = make_demo_repository(num_patients=num_patients)
    # 0 lets the system choose: two demos on one machine do not meet.
    with _open_hub(folder, _PORT if serve else 0) as hub:
        os.environ["MEDASSETS_DEMO_HUB"] = hub.endpoint
        output.say(f"local Hub: {hub.endpoint}, commit {hub.sha[:12]}, files in {folder}")
        session = Session()
        code = build_dataset(session, output, dataset, BuildOptions())
        if code == 0:
            _tell_where(output, session, dataset)
            if serve:
                _wait(output, hub)
            else:
                output.say("\nbuild from the UI as well, with the local Hub kept running:")
                output.say(f"  {_program()} demo {dataset} --serve")
    return code


def make_demo_repository(*, num_patients: int) -> Path:
    """Return the folder of the demo's repository, made if it is not there yet."""

    def make(folder: Path) -> None:
        make_ct_rate_repository(
            folder, num_patients=num_patients, shape_range=((96, 96, 40), (160, 160, 80))
        )

    return make_once(medassets_home() / "demo_repository" / f"{num_patients}_patients", make)


def make_once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Return a folder, made under another name first if it is not there yet."""
    if not folder.exists():
        with open_scratch(folder) as making:
            make(making / folder.name)
            (making / folder.name).rename(folder)
    return folder


@contextmanager
def _open_hub(folder: Path, port: int) -> Iterator[LocalHub]:
    hub = LocalHub(folder, DEMO_REPOSITORY, port=port)
    try:
        hub.start()
    except OSError as error:
        msg = f"--serve: cannot listen on 127.0.0.1:{port}: {error.strerror}; does one run already?"
        raise click.UsageError(msg) from error
    try:
        yield hub
    finally:
        hub.close()


def _tell_where(output: Output, session: Session, dataset: str) -> None:
    paths = session.workspace(dataset).paths
    program = _program()
    output.say("")
    output.say(f"catalog, shards, manifests in {paths.folder}:")
    for shard in sorted(paths.folder.rglob("shard-*.tar")):
        output.say(f"  {shard.relative_to(paths.folder)}  {shard.stat().st_size:,} bytes")
    first = shlex.quote(str(paths.shard(_FIRST_SHARD)))
    output.say("\nlook at it:")
    for line in (
        f"export MEDASSETS_HOME={shlex.quote(str(medassets_home()))}",
        f"{program} status {dataset}",
        f"{program} verify {dataset}",
        f"{program} inspect {first}",
        f"{program} up   # then http://127.0.0.1:3000",
    ):
        output.say(f"  {line}")


def _program() -> str:
    """Return how to call this very program: an environment need not be activated."""
    if found := shutil.which("medassets"):
        own = Path(sys.executable).with_name("medassets")
        if not own.exists() or Path(found).samefile(own):
            return "medassets"
    return f"{shlex.quote(sys.executable)} -m medassets"


def _wait(output: Output, hub: LocalHub) -> None:
    output.say(f"\nserving {hub.endpoint}; Ctrl-C stops")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        output.say("stopped")
