"""A model's URI is understood, or refused with a sentence."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from model_server.errors import ModelError, Reason
from model_server.fetch.source import Artefact, Bucket, Claim, Local, Packing, Remote, Repository, parse_uri

DIGEST = "sha256:" + 64 * "a"


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
    ("uri", "source", "shown"),
    [
        ("s3://models/nlp/3/", Bucket("models", "nlp/3"), "s3://models/nlp/3"),
        ("s3://Old_Bucket", Bucket("Old_Bucket", ""), "s3://Old_Bucket/"),
        ("s3://models/no%20escape?#", Bucket("models", "no%20escape?#"), "s3://models/no%20escape?#"),
        ("hf://org/nlp", Repository("org/nlp", "main", ""), "hf://org/nlp@main"),
        ("hf://org/nlp@v1/a/b/", Repository("org/nlp", "v1", "a/b"), "hf://org/nlp@v1/a/b"),
        ("hf://Org-1/n.l_p@refs%2Fpr%2F1", Repository("Org-1/n.l_p", "refs/pr/1", ""), "hf://Org-1/n.l_p@refs/pr/1"),
        ("oci://registry/nlp", Artefact("registry", "nlp", "latest"), "oci://registry/nlp:latest"),
        ("oci://r.io:5000/a/n_l-p:v1.2", Artefact("r.io:5000", "a/n_l-p", "v1.2"), "oci://r.io:5000/a/n_l-p:v1.2"),
        (f"oci://r.io/nlp:3@{DIGEST}", Artefact("r.io", "nlp", DIGEST), f"oci://r.io/nlp@{DIGEST}"),
    ],
)
def test_a_store_is_named_with_what_is_wanted_of_it(
    uri: str, source: Bucket | Repository | Artefact, shown: str
) -> None:
    assert parse_uri(uri) == source
    assert source.shown == shown


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "its scheme must be file, pvc, https, s3, hf or oci"),
        ("/models/nlp", "its scheme must be"),
        ("http://host/m.tar", "its scheme must be"),
        ("ftp://host/m.tar", "its scheme must be"),
        ("file://models/nlp", "three slashes"),
        ("pvc:///models", "names the claim"),
        ("pvc://claim/../../etc", "must not go up"),
        ("pvc://claim/%2e%2e/etc", "must not go up"),
        ("s3:///nlp", "names a bucket"),
        ("s3://user@models/nlp", "names a bucket"),
        ("s3://models/../nlp", "must not go up"),
        ("hf://nlp", "names a repository"),
        ("hf://org/nlp@", "names a repository"),
        ("hf://org/nlp/../x", "must not go up"),
        ("oci://registry", "names a registry and a repository"),
        ("oci://registry/Models", "names a registry and a repository"),
        ("oci://user:secret@registry/models", "names a registry and a repository"),
        ("oci://registry/models@sha256:1", "names a registry and a repository"),
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
