"""The daemon of `medassets up` ends with its parent, however that ends."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from medassets_tests.cli.waiting import are_gone, wait_until

Start = Callable[..., AbstractContextManager[Any]]


DAEMONS = """{ instance { daemonHealth { allDaemonStatuses { daemonType healthy required } } } }"""


@pytest.mark.slow
def test_the_daemon_ends_when_its_parent_is_killed(running_ui: Start, home: Path) -> None:
    with running_ui(home) as ui:
        daemon = next(p for p in ui.descendants() if "medassets.instance.daemon" in p.cmdline())
        wait_until(lambda: ui_daemons_are_healthy(ui))
        assert not are_gone([daemon])
        ui.process.kill()
        wait_until(lambda: are_gone([daemon]))
        assert are_gone([daemon])


def ui_daemons_are_healthy(ui: Any) -> bool:
    statuses = ui.ask(DAEMONS)["instance"]["daemonHealth"]["allDaemonStatuses"]
    return all(status["healthy"] for status in statuses if status["required"])
