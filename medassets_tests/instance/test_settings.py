"""`dagster.yaml`: renewed where it is as we wrote it, left alone where the user changed it."""

import hashlib
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from medassets.errors import ForeignFileError
from medassets.instance.home import ensure_dagster_home
from medassets.instance.settings import (
    SHIPPED_DIGESTS,
    is_shipped,
    list_lacking,
    read_postgres_url,
    write_settings,
)

SHIPPED = (files("medassets.instance") / "dagster.yaml").read_bytes()

URL = 'postgresql+psycopg2://me:a"b\\@/runs'


def test_every_shipped_file_is_known_by_its_digest() -> None:
    # After a change of the file: append its digest, keep the others.
    assert hashlib.sha256(SHIPPED).hexdigest() == SHIPPED_DIGESTS[-1]
    assert is_shipped(SHIPPED)


def test_a_home_of_an_earlier_version_gets_the_launcher(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = b"telemetry: {enabled: false}\n"
    known = (hashlib.sha256(earlier).hexdigest(), *SHIPPED_DIGESTS)
    monkeypatch.setattr("medassets.instance.settings.SHIPPED_DIGESTS", known)
    file = home / "dagster" / "dagster.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(earlier)
    ensure_dagster_home()
    assert yaml.safe_load(file.read_bytes())["run_launcher"]["class"] == "LocalRunLauncher"
    assert list_lacking(file.parent) == []


def test_a_changed_file_stays_and_what_it_lacks_is_listed(home: Path) -> None:
    file = home / "dagster" / "dagster.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("run_monitoring: {enabled: true}\n")
    ensure_dagster_home()
    assert file.read_text() == "run_monitoring: {enabled: true}\n"
    launcher, queue = list_lacking(file.parent)
    assert launcher.startswith("`run_launcher: {module: medassets.instance.launcher, class: ")
    assert queue.startswith("`run_queue: {max_user_code_failure_retries: 20, ")


def test_settings_under_other_names_are_not_lacking(tmp_path: Path) -> None:
    settings = {
        "run_launcher": {"module": "medassets.instance.launcher", "class": "LocalRunLauncher"},
        "run_monitoring": {"enabled": True},
        "run_coordinator": {"config": {"max_user_code_failure_retries": 5}},
    }
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    assert list_lacking(tmp_path) == []


@pytest.mark.parametrize("content", [b"a: [", b"- 1\n", b""])
def test_a_file_that_is_no_mapping_is_left_to_dagster(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "dagster.yaml").write_bytes(content)
    list_lacking(tmp_path)
    write_settings(tmp_path)
    assert (tmp_path / "dagster.yaml").read_bytes() == content


def test_a_database_is_noted_kept_and_replaced(tmp_path: Path) -> None:
    write_settings(tmp_path, postgres_url=URL)
    file = tmp_path / "dagster.yaml"
    content = file.read_bytes()
    assert is_shipped(content)
    assert read_postgres_url(content) == URL
    assert yaml.safe_load(content)["storage"] == {"postgres": {"postgres_url": URL}}
    write_settings(tmp_path)
    assert file.read_bytes() == content
    write_settings(tmp_path, postgres_url="postgresql+psycopg2:///other")
    assert read_postgres_url(file.read_bytes()) == "postgresql+psycopg2:///other"


def test_a_database_is_not_noted_in_a_file_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: true}\n")
    with pytest.raises(ForeignFileError, match=r"dagster\.yaml"):
        write_settings(tmp_path, postgres_url=URL)
