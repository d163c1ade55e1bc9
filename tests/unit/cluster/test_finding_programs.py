"""Which program is used: the user's where it suits, else ours, else it is built."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from cluster import binaries, build, runtime
from cluster.errors import ClusterError, MissingError
from cluster.pins import TOOLS, version_in

if TYPE_CHECKING:
    from pathlib import Path


def program(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Kubernetes v1.35.4", (1, 35, 4)),
        ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", (1, 32, 4)),
        ("etcd Version: 3.4.23\nGit SHA: Not provided", (3, 4, 23)),
        ("v3.22.0+g1a2b3c4", (3, 22, 0)),
        ("containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7", (2, 1, 4)),
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", (1, 6, 20)),
        ("unknown", None),
    ],
)
def test_a_version_is_found_in_what_a_program_says(text: str, version: tuple[int, int, int] | None) -> None:
    assert version_in(text) == version


@pytest.mark.parametrize(
    ("tool", "version", "suits"),
    [
        ("etcd", (3, 4, 23), False),  # Debian's
        ("etcd", (3, 7, 0), True),
        ("kube-apiserver", (1, 35, 9), True),
        ("kube-apiserver", (1, 34, 4), False),
        ("kubectl", (1, 32, 4), False),
        ("kubectl", (1, 34, 0), True),
        ("kubectl", (1, 36, 2), True),
        ("helm", (4, 3, 1), False),
        ("coredns", (1, 14, 7), False),  # which plugins are in it, no version tells
    ],
)
def test_a_foreign_version_is_used_only_if_it_suits(tool: str, version: tuple[int, int, int], suits: bool) -> None:
    assert TOOLS[tool].suits(version) is suits


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_the_version_that_we_name_is_the_one_that_go_sum_pins(tool: object) -> None:
    assert isinstance(tool, type(TOOLS["etcd"]))
    requirements = (tool.source / "go.mod").read_text()
    assert tool.name == "pause" or f" {tool.version}" in requirements


def test_the_users_folder_comes_before_path_and_path_before_the_cache(tmp_path: Path) -> None:
    tool = TOOLS["etcd"]
    environment = {
        "KUBEBUILDER_ASSETS": str(tmp_path / "assets"),
        "PATH": f"{tmp_path / 'path'}:/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    assert binaries.find(tool, environment) is None
    own = binaries.cached(tool, environment)
    program(own.parent, "etcd", "etcd Version: 3.7.3")
    assert binaries.find(tool, environment) == own
    on_path = program(tmp_path / "path", "etcd", "etcd Version: 3.6.1")
    assert binaries.find(tool, environment) == on_path
    asset = program(tmp_path / "assets", "etcd", "etcd Version: 3.5.21")
    assert binaries.find(tool, environment) == asset


def test_what_does_not_suit_or_does_not_run_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "assets", "kubectl", "Client Version: v1.28.0")
    program(tmp_path / "path", "kubectl", "").write_text("#!/bin/sh\nexit 1\n")
    environment = {
        "KUBEBUILDER_ASSETS": str(tmp_path / "assets"),
        "PATH": f"{tmp_path / 'path'}:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    assert binaries.find(TOOLS["kubectl"], environment) is None


def test_a_program_of_our_own_is_cached_under_what_its_source_is() -> None:
    assert binaries.full_version(TOOLS["etcd"]) == "v3.7.3"
    version, _, digest = binaries.full_version(TOOLS["kstatus"]).rpartition("-")
    assert (version, len(digest)) == ("v1.2.3", 8)


def test_a_program_that_we_do_not_have_is_refused_by_name() -> None:
    with pytest.raises(ClusterError, match='"etdc" is none of our programs; they are etcd, '):
        binaries.path("etdc")


def test_kubernetes_is_built_from_go_sum_and_knows_its_version(tmp_path: Path) -> None:
    command = build.command(TOOLS["kube-apiserver"], tmp_path / "kube-apiserver")
    assert command[:5] == ["go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false"]
    assert command[-1] == "k8s.io/kubernetes/cmd/kube-apiserver"
    assert "-X k8s.io/component-base/version.gitVersion=v1.35.4" in command[6]


def test_without_go_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match=r"etcd v3\.7\.3 is neither installed nor in the cache.*install Go 1\.26"):
        build.build(TOOLS["etcd"], tmp_path / "etcd")


def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    go = program(tmp_path / "path", "go", "")
    go.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\n{script}\n')
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")


def test_two_that_want_the_same_program_build_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(tmp_path, monkeypatch, f"echo built >> {tmp_path}/builds; echo program > $2")
    target = tmp_path / "cache/etcd"
    callers = [threading.Thread(target=build.build, args=(TOOLS["etcd"], target)) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert target.read_text() == "program\n"
    assert (tmp_path / "builds").read_text() == "built\n"


def test_a_failed_build_leaves_no_program_and_shows_the_compilers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_go(tmp_path, monkeypatch, "echo half > $2; echo 'missing go.sum entry' >&2; exit 1")
    target = tmp_path / "cache/etcd"
    with pytest.raises(ClusterError, match=r"missing go\.sum entry"):
        build.build(TOOLS["etcd"], target)
    assert not target.exists()
    fake_go(tmp_path, monkeypatch, "echo whole > $2")
    assert build.build(TOOLS["etcd"], target).read_text() == "whole\n"


def test_network_plugins_are_taken_only_from_a_folder_that_has_them_all(tmp_path: Path) -> None:
    (tmp_path / "opt/cni/bin").mkdir(parents=True)
    (tmp_path / "opt/cni/bin/bridge").touch()
    assert runtime.plugin_folder(tmp_path) is None
    (tmp_path / "usr/lib/cni").mkdir(parents=True)
    for plugin in runtime.PLUGINS:
        (tmp_path / "usr/lib/cni" / plugin).touch()
    assert runtime.plugin_folder(tmp_path) == tmp_path / "usr/lib/cni"


@pytest.mark.parametrize(
    ("name", "says", "suits"),
    [
        ("containerd", "containerd containerd.io 1.7.28 b98a3aa", True),
        ("containerd", "containerd github.com/containerd/containerd 1.4.13~ds1", False),
        ("runc", "runc version 1.0.0~rc93+ds1", False),
        ("nft", "", True),
    ],
)
def test_an_old_container_runtime_is_passed_over(tmp_path: Path, name: str, says: str, suits: bool) -> None:
    assert runtime._suits(name, str(program(tmp_path, name, says))) is suits
    assert not runtime._suits(name, None)
