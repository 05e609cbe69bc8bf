"""Makes the pictures of docs/screenshots: the demo's data, the real UI, a headless browser.

Run by hand after a change of what the UI shows, from the repository's root:

    .venv/bin/python docs/make_screenshots.py

Needs Chromium (Debian: `apt-get install chromium`; another path goes into $CHROMIUM) and the
`dev` extra; it speaks the DevTools protocol, so neither Node nor a driver. Look at the pictures
before you commit them: the script waits for texts, it does not judge what it sees.
"""

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from websockets.sync.client import ClientConnection, connect

from medassets.cli.commands.demo import make_demo_repository
from medassets.testing.hub import LocalHub

SCREENSHOTS = Path(__file__).parent / "screenshots"
WIDTH, HEIGHT = 1400, 900
GROUP = "/locations/__repository__@medassets/asset-groups/{}/lineage"
BUILD = "/locations/__repository__@medassets/jobs/demo_ct_build"
SHARDS = "/assets/demo_ct/shards"
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    f"--window-size={WIDTH},{HEIGHT}",
)
CLICK = """(() => {{ const found = [...document.querySelectorAll('button, a, div, span')]
  .filter(e => e.offsetParent && e.textContent.trim() === {text} && !e.querySelector('button, a'));
  const last = found.at(-1); if (last) last.click(); return Boolean(last); }})()"""

SHOW = """(() => {{ const found = [...document.querySelectorAll('td, div, span')]
  .find(e => e.offsetParent && e.textContent.trim() === {text});
  if (found) found.scrollIntoView({{block: 'center'}}); return Boolean(found); }})()"""


def main() -> None:
    """Make all pictures."""
    SCREENSHOTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="medassets-") as folder:
        for name in ("DAGSTER_HOME", "MEDASSETS_DEFS"):
            os.environ.pop(name, None)
        os.environ.update(MEDASSETS_HOME=f"{folder}/home", TZ="UTC")
        with LocalHub(make_demo_repository(num_patients=9), "medassets/demo-ct") as hub:
            os.environ["MEDASSETS_DEMO_HUB"] = hub.endpoint
            hub.fail("missing", "*train_3_*", times=None)
            build("--split", "train")
            hub.heal()
            with running_ui(folder) as address, open_browser(folder) as page:
                take_unfinished(page, address)
                build()
                take_finished(page, address)
                run_command("demo", "demo_video")
                take_video(page, address)


def build(*options: str) -> None:
    """Build the demo's dataset; a shard may fail, for the pictures."""
    run_command("build", "demo_ct", *options)


def run_command(*words: str) -> None:
    """Run the command as a user would."""
    subprocess.run([sys.executable, "-m", "medassets", *words], check=False)


def take_unfinished(page: "Page", address: str) -> None:
    """Show what is left to do: one shard failed, one split was not begun."""
    page.open(f"{address}{SHARDS}?view=partitions&partition=train-000001", "Failed (1)")
    page.save("partitions")
    wait_for(lambda: daemon_is_healthy(address))
    page.open(address + BUILD)
    page.click("Materialize all…")
    page.click("Failed and missing")
    page.wait_until("document.body.innerText.includes('Launch backfill')")
    page.save("backfill")


def take_finished(page: "Page", address: str) -> None:
    """Show the whole dataset: graph, one shard, its picture, the catalog."""
    page.open(address + GROUP.format("demo_ct"), "raw_volumes", "manifest", "Materialized")
    page.save("graph")
    page.open(f"{address}{SHARDS}?view=partitions&partition=train-000000", "medassets/preview")
    page.save("shard")
    page.click("[Show Markdown]")
    page.wait_until("document.querySelector('img[src^=\"data:image/jpeg\"]')?.naturalWidth > 0")
    page.save("preview")
    page.open(f"{address}/assets/demo_ct/catalog?view=overview", "medassets/revision")
    page.save("catalog")


def take_video(page: "Page", address: str) -> None:
    """Show the video demo: graph, one shard of frames, its contact sheet, coverage."""
    page.open(address + GROUP.format("demo_video"), "frames", "dataset_info", "Materialized")
    page.save("video_graph")
    frames = f"{address}/assets/demo_video/frames?view=partitions&partition=train-000000"
    page.open(frames, "medassets/preview")
    page.show("medassets/contents")
    page.save("video_shard")
    page.click("[Show Markdown]")
    page.wait_until("document.querySelector('img[src^=\"data:image/jpeg\"]')?.naturalWidth > 0")
    page.save("contact_sheet")
    page.open(f"{address}/assets/demo_video/catalog?view=overview", "medassets/coverage")
    page.show("medassets/coverage")
    page.save("coverage")


@contextmanager
def running_ui(folder: str) -> Iterator[str]:
    """Serve the demo's instance, and yield the address."""
    log = Path(folder) / "ui.log"
    command = [sys.executable, "-m", "medassets", "ui", "--port", "0"]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()))[0]
    finally:
        server.terminate()
        server.wait(60)


def daemon_is_healthy(address: str) -> bool:
    """Tell whether the backfill daemon has given a sign of life."""
    query = """{ instance { daemonHealth { daemonStatus(daemonType: "BACKFILL") { healthy } } } }"""
    answer = httpx2.post(f"{address}/graphql", json={"query": query}, trust_env=False).json()
    return answer["data"]["instance"]["daemonHealth"]["daemonStatus"]["healthy"]


@contextmanager
def open_browser(folder: str) -> Iterator["Page"]:
    """Start a headless browser without a past, and yield its one page."""
    profile = Path(folder) / "profile"
    command = [os.environ.get("CHROMIUM", "chromium"), *OPTIONS, f"--user-data-dir={profile}"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file = profile / "DevToolsActivePort"
        port = wait_for(lambda: port_file.exists() and port_file.read_text().split("\n")[0])
        pages = httpx2.get(f"http://127.0.0.1:{port}/json", trust_env=False).json()
        address = next(p["webSocketDebuggerUrl"] for p in pages if p["type"] == "page")
        with connect(address, max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        browser.terminate()
        browser.wait(30)


def wait_for(probe: Any, timeout_s: float = 60.0) -> Any:
    """Return the first truth that a function returns.

    Raises:
        TimeoutError: If there is none in time.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := probe()):
        if time.monotonic() > deadline:
            msg = "what the picture should show did not appear"
            raise TimeoutError(msg)
        time.sleep(0.2)
    return found


@dataclass
class Page:
    """A page of the browser, driven through its DevTools socket."""

    socket: ClientConnection
    sent: int = field(default=0)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self.sent += 1
        self.socket.send(json.dumps({"id": self.sent, "method": method, "params": params}))
        while (answer := json.loads(self.socket.recv(60))).get("id") != self.sent:
            pass
        return answer["result"]

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def open(self, address: str, *texts: str) -> None:
        """Open an address and wait until the page shows all texts."""
        self.call("Page.navigate", url=address)
        for text in texts:
            self.wait_until(f"document.body.innerText.includes({json.dumps(text)})")

    def wait_until(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        wait_for(lambda: self.evaluate(expression))

    def click(self, text: str) -> None:
        """Click the last element that shows exactly this text."""
        self.wait_until(CLICK.format(text=json.dumps(text)))

    def show(self, text: str) -> None:
        """Scroll to the first element that shows exactly this text."""
        self.wait_until(SHOW.format(text=json.dumps(text)))

    def save(self, name: str) -> None:
        """Save what the page shows, once its animations are over."""
        time.sleep(2)
        metrics = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        data = self.call("Page.captureScreenshot", format="png")["data"]
        target = SCREENSHOTS / f"{name}.png"
        target.write_bytes(base64.b64decode(data))
        sys.stdout.write(f"{target}  {target.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
