import base64
from pathlib import Path

from demo import stage


def test_a_volume_is_kept_for_the_claim_that_the_examples_name() -> None:
    volume = stage.volume("models", Path("/somewhere/models"))
    assert volume["spec"]["claimRef"] == {"namespace": "default", "name": "models"}
    assert volume["spec"]["hostPath"]["path"] == "/somewhere/models"


def test_tables_travel_as_binary_data_under_their_file_names(tmp_path: Path) -> None:
    (tmp_path / "train.npz").write_bytes(b"\x00\xff")
    table = stage.tables("digits-data", [tmp_path / "train.npz"])
    assert base64.b64decode(table["binaryData"]["train.npz"]) == b"\x00\xff"
