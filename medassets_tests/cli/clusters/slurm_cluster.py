"""A SLURM cluster of this machine: its own munge, controller and node daemon."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
KillWait=20
MinJobAge=3600
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory={memory_mb}
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Slurm:
    """A running cluster.

    Attributes:
        folder: Its configuration, logs and state.
        environment: Variables that its commands need.
    """

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str, text: str | None = None) -> str:
        """Return what a command prints.

        Raises:
            CalledProcessError: If it fails.
        """
        result = subprocess.run(
            words, input=text, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert result.returncode == 0, f"{words}: {result.stdout}{result.stderr}"
        return result.stdout

    def wait_for_jobs(self, timeout_s: float) -> dict[str, str]:
        """Wait until no job is pending or running; return the state of each task by its id."""
        end = time.monotonic() + timeout_s
        while self.run("squeue", "-h", "-t", "PENDING,RUNNING,COMPLETING,REQUEUED", "-o", "%i"):
            assert time.monotonic() < end, self.run("squeue")
            time.sleep(0.5)
        lines = self.run("squeue", "-h", "-r", "-t", "all", "-o", "%j %i %T").splitlines()
        return {f"{name} {job}": state for name, job, state in map(str.split, lines)}


@contextmanager
def serving_slurm(folder: Path) -> Iterator[Slurm]:
    """Run a cluster of one node inside the block; skip where its programs are missing."""
    missing = [name for name in _PROGRAMS if _find(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(
            f"no SLURM: needs root, and {', '.join(missing or _PROGRAMS)} (Debian: slurmctld, slurmd, slurm-client, munge)"
        )
    folder.mkdir()
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    conf, key = folder / "slurm.conf", folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    controller, node = _free_ports(2)
    host = socket.gethostname().split(".")[0]
    # A node that has less than it states is drained.
    memory_mb = psutil.virtual_memory().total // 2**20 * 9 // 10
    conf.write_text(
        _CONF.format(
            folder=folder, controller=controller, node=node, host=host, memory_mb=memory_mb
        )
    )
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    with ExitStack() as stack:
        stack.enter_context(
            _running(
                folder,
                "munged",
                *("--foreground", "--force", f"--key-file={key}"),
                *(f"--socket={folder}/munge.socket", f"--log-file={folder}/munged.log"),
                *(f"--pid-file={folder}/munged.pid", f"--seed-file={folder}/munged.seed"),
            )
        )
        _wait(lambda: (folder / "munge.socket").exists(), folder)
        for name in ("slurmctld", "slurmd"):
            stack.enter_context(_running(folder, name, "-D", environment=environment))
        slurm = Slurm(folder, environment)
        _wait(lambda: "idle" in slurm.run("sinfo", "-h", "-o", "%T"), folder)
        yield slurm


@contextmanager
def _running(
    folder: Path, name: str, *options: str, environment: dict[str, str] | None = None
) -> Iterator[None]:
    path = _find(name)
    assert path is not None
    with (folder / f"{name}.out").open("wb") as out:
        process = subprocess.Popen([path, *options], stdout=out, stderr=out, env=environment)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(is_ready: Callable[[], bool], folder: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            if is_ready():
                return
        except AssertionError:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, "\n".join(
            path.read_text(errors="replace")[-2000:] for path in folder.glob("*.log")
        )
        time.sleep(0.2)


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in found]
