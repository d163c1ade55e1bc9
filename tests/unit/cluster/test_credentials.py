"""Certificates, tokens and kubeconfigs."""

from __future__ import annotations

import json
import ssl
import stat
import subprocess
from typing import TYPE_CHECKING

from cluster import access, pki
from cluster.access import Access

if TYPE_CHECKING:
    from pathlib import Path


def test_a_certificate_tells_addresses_from_names() -> None:
    names = ["localhost", "127.0.0.1", "::1", "kubernetes.default.svc"]
    assert pki.alternative_names(names) == "DNS:localhost, IP:127.0.0.1, IP:::1, DNS:kubernetes.default.svc"
    assert "subjectAltName" not in pki.openssl_config()


def test_the_api_server_answers_to_its_service_and_to_every_address() -> None:
    names = pki.apiserver_names("10.97.0.1", "10.97.255.1")
    assert {"kubernetes.default.svc", "localhost", "127.0.0.1", "10.97.0.1", "10.97.255.1"} <= set(names)


def test_the_authority_vouches_for_what_it_issues_as_strictly_as_python_checks(tmp_path: Path) -> None:
    authority = pki.Authority.create(tmp_path / "pki")
    authority.issue("server", "/CN=server/O=system:masters", ["localhost", "127.0.0.1"])
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(tmp_path / "pki/server.crt", tmp_path / "pki/server.key")
    checked = subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-verify_hostname", "localhost"),
            *("-CAfile", authority.certificate, tmp_path / "pki/server.crt"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.stdout.endswith("server.crt: OK\n"), checked.stderr
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


def test_a_kubeconfig_survives_writing_and_reading_and_is_nobody_elses_business(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    written = Access("https://127.0.0.1:6443", "-----BEGIN CERTIFICATE-----\n", "secret")
    written.write(path)
    assert Access.read(path) == written
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["current-context"] == "modelservice"


def test_the_token_file_names_each_user_and_its_groups(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    tokens = access.create_tokens(path, {"admin": "system:masters", "system:kube-proxy": ""})
    assert path.read_text().splitlines() == [
        f'{tokens["admin"]},admin,admin,"system:masters"',
        f"{tokens['system:kube-proxy']},system:kube-proxy,system:kube-proxy",
    ]
    assert len(set(tokens.values())) == 2
