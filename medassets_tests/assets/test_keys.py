from medassets.assets.keys import asset_key
from medassets.definitions import build_definitions, load_declared
from medassets.stages import CommonStage, VideoStage, VolumeStage


def test_a_key_holds_plain_texts_which_dagster_can_serialize() -> None:
    key = asset_key("tiny", VolumeStage.SHARDS)
    assert [type(part) for part in key.path] == [str, str]
    assert key.to_user_string() == "tiny/shards"


def test_every_shipped_asset_is_a_stage_of_its_kind() -> None:
    known = {*CommonStage, *VideoStage, *VolumeStage}
    keys = build_definitions(load_declared()).resolve_all_asset_keys()
    assert keys
    assert {key.path[1] for key in keys} <= known
