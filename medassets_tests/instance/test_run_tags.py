"""A tag of a run names a process and the run whose tag it is."""

from medassets.instance.run_tags import PROCESS_TAG, read_tag, tags_of_command
from medassets.storage.processes import this_process


def test_a_tag_is_read_by_its_own_run_only() -> None:
    value = tags_of_command("one")[PROCESS_TAG]
    assert read_tag(value, "one") == this_process()
    assert read_tag(value, "another") is None
    assert read_tag("", "") is None
    assert read_tag("host:12", "one") is None
