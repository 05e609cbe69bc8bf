"""The address of a PostgreSQL database, as users type it."""

import socket

import pytest

from medassets.errors import UsageError
from medassets.instance import postgres
from medassets.instance.postgres import check_url, hide_password, read_url


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_every_usual_scheme_gets_the_driver_that_works(scheme: str) -> None:
    url = read_url(f"{scheme}://me:s%40cret@db:5433/runs?sslmode=require", field="--postgres")
    assert url.render_as_string(hide_password=False) == (
        "postgresql+psycopg2://me:s%40cret@db:5433/runs?sslmode=require"
    )
    assert "cret" not in hide_password(url)


@pytest.mark.parametrize(
    "typed",
    ["", "runs", "mysql://me@db/runs", "postgresql+psycopg://me@db/runs", "postgresql://a:b:c"],
)
def test_anything_else_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match=r"--postgres: expected postgresql://USER@HOST/DATABASE"):
        read_url(typed, field="--postgres")


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = read_url(
            f"postgresql://me:secret@127.0.0.1:{unused.getsockname()[1]}/runs", field="f"
        )
        with pytest.raises(UsageError, match=r"f: cannot connect to .*me:\*\*\*@") as caught:
            check_url(url, field="f")
    assert "secret" not in str(caught.value)


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_is_installed", lambda name: name != "psycopg2")
    url = read_url("postgresql://me@127.0.0.1:1/runs", field="f")
    with pytest.raises(UsageError, match=r'psycopg2 is missing: pip install "medassets\[postgres'):
        check_url(url, field="f")
