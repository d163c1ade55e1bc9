"""Fetching from the Hugging Face Hub, of which there is only a stand-in here: see hub.py."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from model_server.errors import ModelError, Reason
from model_server.fetch import Options, fetch, parse_uri, transfer
from model_server.fetch.patience import Patience
from server.hub import COMMIT, TOKEN, Hub
from server.site import breaks_off, gives, in_turn, open_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server.site import Site

PART = 64 * 1024
WEIGHTS = os.urandom(2 * PART + 10)


@pytest.fixture
def hub(site: Site, certificates: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_ENDPOINT", site.url("/"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(transfer, "PART_BYTES", PART)
    with open_site(certificates) as elsewhere:
        yield Hub(
            site, elsewhere, "org/nlp", {"v1/weights": WEIGHTS}, {"v1/model.json": b"{}", "README.md": b"# Model"}
        )


def options(hub: Hub, root: Path, pin: str | None = None, **changes: object) -> Options:
    made = Options(
        directory=root / "to",
        pin=pin,
        ca_file=hub.front.ca_file,
        source_mount=root,
        max_bytes=10**9,
        patience=Patience(silence_seconds=10, attempts=3, first_pause_seconds=0.01),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def refusal(hub: Hub, root: Path, uri: str = "hf://org/nlp") -> ModelError:
    with pytest.raises(ModelError) as caught:
        fetch(parse_uri(uri), options(hub, root))
    assert not (root / "to/current").exists()
    assert TOKEN not in caught.value.message
    return caught.value


def test_a_repository_becomes_a_model_directory(hub: Hub, tmp_path: Path) -> None:
    fetch(parse_uri("hf://org/nlp"), options(hub, tmp_path))
    assert (tmp_path / "to/current/v1/weights").read_bytes() == WEIGHTS
    assert (tmp_path / "to/current/README.md").read_bytes() == b"# Model"


@pytest.mark.parametrize("revision", ["", f"@{COMMIT}", "@refs%2Fpr%2F1"])
def test_a_path_in_a_revision_may_be_the_model(revision: str, hub: Hub, tmp_path: Path) -> None:
    fetch(parse_uri(f"hf://org/nlp{revision}/v1"), options(hub, tmp_path))
    assert sorted(path.name for path in (tmp_path / "to/current").iterdir()) == ["model.json", "weights"]
    fetch(parse_uri(f"hf://org/nlp{revision}/v1/weights"), options(hub, tmp_path / "single"))
    assert (tmp_path / "single/to/current/weights").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    ("uri", "reason", "said"),
    [
        ("hf://org/none", Reason.NOT_FOUND, "does not exist, or not for everybody: .* 401 RepoNotFound. A token"),
        ("hf://org/nlp@none", Reason.NOT_FOUND, "has no revision none; .* 404 RevisionNotFound"),
        ("hf://org/nlp/v2", Reason.NOT_FOUND, "revision main holds no file there"),
        ("hf://org/gated", Reason.REFUSED, "open only to accounts that its owner has let in: .* 403 GatedRepo"),
    ],
)
def test_what_is_not_there_is_named(uri: str, reason: Reason, said: str, hub: Hub, tmp_path: Path) -> None:
    error = refusal(hub, tmp_path, uri)
    assert error.reason is reason
    assert re.search(said, error.message)


def test_a_token_opens_what_is_private_and_goes_to_the_hub_alone(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.is_private = True
    assert "or not for everybody" in refusal(hub, tmp_path).message
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert "the Hub does not take the token" in refusal(hub, tmp_path).message
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    fetch(parse_uri("hf://org/nlp"), options(hub, tmp_path))
    assert hub.elsewhere.asked
    assert hub.tokens_elsewhere == []


def test_a_renamed_repository_is_found_with_the_token(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.is_private = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    old = "/api/models/org/old/revision/main"
    hub.front.pages[old] = gives(b"", 307, Location="/api/models/org/nlp/revision/main?blobs=true")
    for name in ("v1/weights", "v1/model.json", "README.md"):
        place = f"/org/old/resolve/{COMMIT}/{name}"
        hub.front.pages[place] = gives(b"", 307, Location=hub.front.url(f"/org/nlp/resolve/{COMMIT}/{name}"))
    assert fetch(parse_uri("hf://org/old"), options(hub, tmp_path)).files == 3


def test_a_token_does_not_travel_in_the_clear(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.corp")
    assert "must be an https address" in refusal(hub, tmp_path).message


@pytest.mark.parametrize("name", ["v1/weights", "v1/model.json"])
def test_bytes_that_are_not_those_of_the_commit_are_not_used(name: str, hub: Hub, tmp_path: Path) -> None:
    place = hub.elsewhere if name in hub.large else hub.front
    path = f"/{name}" if name in hub.large else f"/org/nlp/resolve/{COMMIT}/{name}"
    good = place.pages[path]
    place.pages[path] = gives(b"x" * len((hub.large | hub.small)[name]))
    error = refusal(hub, tmp_path)
    assert (error.reason, f"{name} has another checksum" in error.message) == (Reason.DIGEST_MISMATCH, True)
    place.pages[path] = good
    fetch(parse_uri("hf://org/nlp"), options(hub, tmp_path))


def test_a_connection_that_breaks_goes_on_also_where_ranges_are_ignored(hub: Hub, tmp_path: Path) -> None:
    hub.elsewhere.pages["/v1/weights"] = in_turn(breaks_off(WEIGHTS), gives(WEIGHTS))
    fetch(parse_uri("hf://org/nlp/v1"), options(hub, tmp_path))
    assert (tmp_path / "to/current/weights").read_bytes() == WEIGHTS


def test_a_hub_that_answers_otherwise_is_no_hub(hub: Hub, tmp_path: Path) -> None:
    hub.front.pages["/api/models/org/nlp/revision/main"] = gives(b"<html>Welcome</html>")
    assert "does not answer as the Hub does" in refusal(hub, tmp_path).message


def test_another_service_finds_in_the_cache_what_one_has_brought(hub: Hub, tmp_path: Path) -> None:
    for name in ("a", "b"):
        fetch(parse_uri("hf://org/nlp"), options(hub, tmp_path / name, cache=tmp_path / "cache"))
    assert (tmp_path / "b/to/current/v1/weights").read_bytes() == WEIGHTS
    assert len(hub.elsewhere.asked) == 3, "the parts of the weights, once"
