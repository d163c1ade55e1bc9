"""What kind and a docker daemon of our own are told, and what goes into kind's node."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from cluster import archives, docker_config, kind, kind_image
from cluster.docker_config import DockerSettings
from cluster.errors import ClusterError
from cluster.kind import Kind

HERE = Path("/checkout/.cluster/default")
PROGRAMS = {name: Path("/usr/sbin", name) for name in ("containerd", "dockerd")}


def test_kind_makes_the_cluster_that_the_environment_names_from_its_own_image_or_from_ours() -> None:
    mine = Kind(HERE, {"KIND_CLUSTER_NAME": "mine"})
    told = ["create", "cluster", "--name", "mine", "--config", f"{HERE}/kind.json", "--retain"]
    where = ["--kubeconfig", f"{HERE}/kubeconfig", "--wait", "180s"]
    assert mine.create("") == [*told, *where]
    assert mine.create("local/node:v1") == [*told, "--image", "local/node:v1", *where]
    assert Kind(HERE, {}).cluster == "modelservice-default"


def test_one_port_leads_in_and_volumes_have_the_same_path_on_both_sides(tmp_path: Path) -> None:
    config = kind.config("127.0.0.1", 20001, tmp_path / "volumes", {"apiServerPort": 6443})
    assert config["networking"] == {"apiServerPort": 6443}
    (node,) = config["nodes"]
    assert node["extraMounts"] == [{"hostPath": f"{tmp_path}/volumes", "containerPath": f"{tmp_path}/volumes"}]
    assert node["extraPortMappings"] == [{"containerPort": 30080, "listenAddress": "127.0.0.1", "hostPort": 20001}]
    (tmp_path / "kind.json").write_text(json.dumps(config))
    assert Kind(tmp_path, {}).outside == "127.0.0.1:20001"


@pytest.mark.parametrize("has_modules", [True, False])
def test_our_daemon_keeps_to_its_directory_and_to_run(has_modules: bool) -> None:
    settings = DockerSettings(HERE, 98, "modelservice-1", PROGRAMS, has_modules=has_modules)
    daemon = docker_config.daemon(settings)
    for what in ("data-root", "exec-root", "pidfile"):
        assert Path(daemon[what]).is_relative_to(HERE) or Path(daemon[what]).is_relative_to("/run"), what
    assert daemon["hosts"] == [f"unix://{HERE}/docker.sock"]
    assert daemon["cgroup-parent"] == "/modelservice-1"
    plan = docker_config.plan(settings)
    assert plan["folders"]["/etc"] == {"docker": f"{HERE}/etc/docker"}
    assert ("/usr/lib" in plan["folders"]) is not has_modules
    assert set(plan["processes"]) == {"containerd", "dockerd"}


@pytest.mark.parametrize(
    "capabilities",
    [
        ["CAP_CHOWN", "CAP_SYS_RESOURCE", "CAP_KILL"],
        ["CAP_CHOWN", "CAP_SYS_RESOURCE"],
        ["CAP_SYS_RESOURCE", "CAP_KILL"],
    ],
)
def test_runc_is_not_asked_for_a_capability_that_the_machine_lacks(tmp_path: Path, capabilities: list[str]) -> None:
    runc, wrapper = tmp_path / "runc.real", tmp_path / "runc"
    runc.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    wrapper.write_text(docker_config.RUNC.format(runc=runc))
    for script in (runc, wrapper):
        script.chmod(0o755)
    told = {"capabilities": {"bounding": capabilities, "effective": capabilities}}
    bundle, process = tmp_path / "a bundle", tmp_path / "process.json"
    bundle.mkdir()
    for file in (bundle / "config.json", process):
        file.write_text(json.dumps(told, separators=(",", ":")))
    left = [each for each in capabilities if each != "CAP_SYS_RESOURCE"]
    for arguments, file in (
        (["--root", "/r", "create", "--bundle", str(bundle), "id"], bundle / "config.json"),
        (["exec", "--process", str(process), "--detach", "id"], process),
    ):
        ended = subprocess.run([wrapper, *arguments], capture_output=True, text=True, check=True)
        assert ended.stdout.splitlines() == arguments
        assert json.loads(file.read_text())["capabilities"] == {"bounding": left, "effective": left}


def test_the_node_image_is_named_after_all_that_is_pinned_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    name = kind_image.name()
    assert name.startswith("localhost/modelservice/kind-node:v1.35.4-")
    assert kind_image.name() == name
    monkeypatch.setattr(kind_image, "FOR_KIND_IMAGE", kind_image.FOR_KIND_IMAGE[:-1])
    assert kind_image.name() != name


def test_the_kubelet_in_kind_s_node_finds_the_settings_of_a_kubelet_in_ours() -> None:
    files = kind_image.settings()
    assert files["kind/version"] == "v1.35.4"
    assert files["kind/sysctl/kernel.keys.root_maxkeys"] == "1000000"
    assert json.loads(files["etc/cni/net.d/10-bridge.conflist"])["plugins"][0]["type"] == "bridge"


def test_the_pause_image_is_the_one_that_kind_configures() -> None:
    config = '[plugins."io.containerd.grpc.v1.cri"]\n  # fixed\n  sandbox_image = "registry.k8s.io/pause:3.10"\n'
    assert kind_image.pause_image(config) == "registry.k8s.io/pause:3.10"
    with pytest.raises(ClusterError, match="names no sandbox_image"):
        kind_image.pause_image("version = 3\n")


def test_a_change_of_kind_s_files_that_we_rely_on_is_noticed(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("restrict_oom_score_adj = false\n")
    kind_image._edit(config, "adj = false", "adj = true")
    assert config.read_text() == "restrict_oom_score_adj = true\n"
    with pytest.raises(ClusterError, match=r"kind's config\.toml no longer has 'adj = false'"):
        kind_image._edit(config, "adj = false", "adj = true")


def test_a_node_keeps_its_links_and_modes_and_loses_manuals_and_caches(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for path in (
        "usr/bin/program",
        "usr/share/doc/program/README",
        "var/cache/apt/pkgcache.bin",
        "var/lib/dpkg/status",
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    (root / "usr/bin/program").chmod(0o755)
    (root / "bin").symlink_to("usr/bin")
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(root, arcname=".", filter=kind_image._kept)
    with tarfile.open(layer) as tar:
        files = {member.name: member for member in tar if not member.isdir()}
    assert set(files) == {"./usr/bin/program", "./var/lib/dpkg/status", "./bin"}
    assert files["./usr/bin/program"].mode == 0o755
    assert files["./bin"].linkname == "usr/bin"
    assert files["./bin"].uid == os.getuid()


def test_an_image_of_a_large_layer_is_read_back(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.add(__file__, arcname="file")
    path = tmp_path / "image.tar"
    with layer.open("rb") as content:
        archives.write_layer(path, name="localhost/node:v1", layer=content, config={"StopSignal": "SIGRTMIN+3"})
    (image,) = archives.images(path)
    assert image.names == ("localhost/node:v1",)
    with tarfile.open(path) as tar:
        described = json.load(tar.extractfile(f"{image.id.removeprefix('sha256:')}.json"))  # type: ignore[arg-type]
        assert tar.extractfile("layer.tar").read() == layer.read_bytes()  # type: ignore[union-attr]
    assert described["config"] == {"StopSignal": "SIGRTMIN+3"}
