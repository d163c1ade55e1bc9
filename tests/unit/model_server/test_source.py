"""A model's URI is understood, or refused with a sentence."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from model_server.errors import ModelError, Reason
from model_server.fetch.source import Claim, Local, Packing, Remote, parse_uri


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("file:///models/nlp", Local(PurePosixPath("/models/nlp"))),
        ("file:///models/with%20blank", Local(PurePosixPath("/models/with blank"))),
        ("pvc://models/nlp/3", Claim(PurePosixPath("nlp/3"))),
        ("pvc://models", Claim(PurePosixPath())),
    ],
)
def test_a_local_uri_names_a_directory(uri: str, source: object) -> None:
    assert parse_uri(uri) == source


@pytest.mark.parametrize(
    ("path", "filename", "packing"),
    [
        ("/a/m.tar", "m.tar", Packing.TAR),
        ("/a/m.TAR.GZ", "m.TAR.GZ", Packing.TAR),
        ("/m.tgz", "m.tgz", Packing.TAR),
        ("/m.zip", "m.zip", Packing.ZIP),
        ("/weights.safetensors", "weights.safetensors", Packing.SINGLE_FILE),
    ],
)
def test_an_https_address_tells_by_its_name_how_it_is_packed(path: str, filename: str, packing: Packing) -> None:
    source = parse_uri(f"https://host:8443{path}?signature=secret#part")
    assert source == Remote(f"https://host:8443{path}?signature=secret", f"https://host:8443{path}", filename, packing)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "its scheme must be file, pvc or https"),
        ("/models/nlp", "its scheme must be"),
        ("http://host/m.tar", "its scheme must be"),
        ("ftp://host/m.tar", "its scheme must be"),
        ("file://models/nlp", "three slashes"),
        ("pvc:///models", "names the claim"),
        ("pvc://claim/../../etc", "must not go up"),
        ("pvc://claim/%2e%2e/etc", "must not go up"),
        ("https://", "names no host"),
        ("https://host/", "names no file"),
        ("https://host:port/m.tar", "Port could not be cast"),
        ("https://[::1/m.tar", "Invalid IPv6"),
    ],
)
def test_any_other_uri_is_refused_with_the_reason(uri: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        parse_uri(uri)
    assert caught.value.reason is Reason.INVALID


def test_neither_a_signature_nor_a_password_is_repeated() -> None:
    for uri in ("gopher://host/m?signature=secret", "https://user:secret@host/m.tar"):
        with pytest.raises(ModelError) as caught:
            parse_uri(uri)
        assert "secret" not in caught.value.message
