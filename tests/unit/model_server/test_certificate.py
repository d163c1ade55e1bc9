"""Certificates as openssl makes them, and handshakes in memory."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from cluster.pki import Authority
from model_server.certificate import read_pair, renewing_context
from model_server.errors import ModelError, Reason

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Vouch for two certificates with keys on curves, `one` and `two`; an `rsa` one vouches for itself."""
    authority = Authority.create(tmp_path_factory.mktemp("pki"))
    for name in ("one", "two"):
        authority.issue(name, f"/CN={name}", ["localhost"])
    self_signed(authority.folder, "rsa")
    return authority


def self_signed(folder: Path, name: str, *more: str) -> Path:
    """Make an RSA certificate that vouches for itself."""
    certificate = folder / f"{name}.crt"
    out = ("-keyout", str(folder / f"{name}.key"), "-out", str(certificate))
    of = ("-config", str(folder / "one.cnf"), "-subj", f"/CN={name}")
    made = ("req", "-x509", *of, "-newkey", "rsa:2048", "-nodes", *out, *more)
    subprocess.run(["openssl", *made], check=True, capture_output=True)
    return certificate


def shake_hands(context: ssl.SSLContext, **wishes: ssl.TLSVersion) -> tuple[str, str | None, str | None]:
    """Return the subject that is shown, the version, and the protocol that is agreed on."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_alpn_protocols(["h2", "http/1.1"])
    for wish, version in wishes.items():
        setattr(client, wish, version)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(up, down, server_side=True)
    theirs = client.wrap_bio(down, up)
    waiting = [theirs, ours]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    shown = theirs.getpeercert(binary_form=True)
    assert shown is not None
    subject = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-noout", "-subject"], input=shown, capture_output=True, check=True
    )
    return subject.stdout.decode().split("= ")[-1].strip(), theirs.version(), theirs.selected_alpn_protocol()


def test_a_handshake_shows_the_certificate_and_agrees_on_http_1_1(authority: Authority) -> None:
    pair = read_pair(authority.folder / "one.crt", authority.folder / "one.key")
    assert shake_hands(renewing_context(lambda: pair)) == ("one", "TLSv1.3", "http/1.1")
    older = {"maximum_version": ssl.TLSVersion.TLSv1_2}
    assert shake_hands(renewing_context(lambda: pair), **older) == ("one", "TLSv1.2", "http/1.1")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_what_is_older_than_tls_1_2_is_not_spoken(authority: Authority) -> None:
    pair = read_pair(authority.folder / "one.crt", authority.folder / "one.key")
    context = renewing_context(lambda: pair)
    older = {"minimum_version": ssl.TLSVersion.TLSv1_1, "maximum_version": ssl.TLSVersion.TLSv1_1}
    with pytest.raises(ssl.SSLError):
        shake_hands(context, **older)


def test_every_handshake_shows_the_newest_also_if_its_key_is_of_another_kind(authority: Authority) -> None:
    """A context that had loaded one after the other would go on with a curve that it had before."""
    folder = authority.folder
    pairs = {name: read_pair(folder / f"{name}.crt", folder / f"{name}.key") for name in ("one", "two", "rsa")}
    newest = "one"
    context = renewing_context(lambda: pairs[newest])
    for newest in ("one", "two", "rsa", "one"):
        assert shake_hands(context)[0] == newest


def test_a_pair_expires_with_the_first_of_what_is_shown(authority: Authority) -> None:
    folder = authority.folder
    of_one_day = self_signed(folder, "short", "-days", "1")
    (folder / "chain.crt").write_text((folder / "one.crt").read_text() + of_one_day.read_text())
    asked = ["openssl", "x509", "-noout", "-enddate", "-in", str(of_one_day)]
    told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    expires = ssl.cert_time_to_seconds(told.removeprefix("notAfter=").strip())
    assert read_pair(folder / "chain.crt", folder / "one.key").expires == expires
    assert read_pair(folder / "one.crt", folder / "one.key").expires > expires


def encrypted(folder: Path) -> Path:
    key = folder / "encrypted.key"
    made = ("ec", "-in", str(folder / "one.key"), "-aes256", "-passout", "pass:secret", "-out", str(key))
    subprocess.run(["openssl", *made], check=True, capture_output=True)
    return key


def test_a_pair_that_cannot_be_used_is_told_why(authority: Authority) -> None:
    folder = authority.folder
    (folder / "text").write_text("no certificate")
    cases = [
        (folder / "one.crt", folder / "two.key", Reason.INVALID, "key values mismatch"),
        (folder / "text", folder / "one.key", Reason.INVALID, "cannot be used for TLS"),
        (folder / "one.crt", folder / "text", Reason.INVALID, "cannot be used for TLS"),
        (folder / "one.crt", encrypted(folder), Reason.INVALID, "the key must not be encrypted"),
        (folder / "none.crt", folder / "one.key", Reason.CONFIG_MISSING, "spec.security.tls.secretRef"),
        (folder / "one.crt", folder / "none.key", Reason.CONFIG_MISSING, "with the keys tls.crt and tls.key"),
    ]
    for certificate, key, reason, said in cases:
        with pytest.raises(ModelError) as refused:
            read_pair(certificate, key)
        assert refused.value.reason is reason
        assert said in refused.value.message
        assert str(certificate) in refused.value.message
