"""A build whose samples take their time, so that a signal surely meets it at work."""

import subprocess
import time
from collections.abc import Callable

SLOW = """
import sys, time
import medassets.volumes.samples as samples
from medassets.cli.main import run
encode = samples.encode_volume_sample
def slowly(*args, **kwargs):
    time.sleep(0.4)
    return encode(*args, **kwargs)
samples.encode_volume_sample = slowly
sys.exit(run(sys.argv[1:]))
"""


def wait_for(what: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until something is so while a process runs; fail if it ends before."""
    deadline = time.monotonic() + 400
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
