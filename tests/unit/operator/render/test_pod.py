from __future__ import annotations

import json
from typing import Any

import pytest

from model_server.metrics import SECONDS
from modelservice_operator.api import ModelServiceSpec, parse
from modelservice_operator.render.overlay import BadOverlayError
from modelservice_operator.render.pod import UnknownClassError, metrics_path, metrics_port, pod_template, speaks_tls
from unit.operator.makers import CONFIG, DIGEST, parsed

Body = dict[str, Any]
CUSTOM = {"name": "Custom", "image": "example/mine:1"}
HTTPS = {"uri": "https://example.com/m.tar"}
FILE = {"uri": "file:///models/m"}
TMP = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - the pod's own


def template(**spec: object) -> Body:
    return pod_template("m", "m-1", parsed(**spec), CONFIG)


def pod(**spec: object) -> Body:
    found: Body = template(**spec)["spec"]
    return found


def server(**spec: object) -> Body:
    found: Body = pod(**spec)["containers"][0]
    return found


def fetch(**spec: object) -> Body:
    found: Body = pod(**spec)["initContainers"][0]
    return found


def by_name(elements: list[Body]) -> dict[str, Body]:
    return {element["name"]: element for element in elements}


def test_a_template_in_full() -> None:
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "runAsUser": 10001,
    }
    ready = {"httpGet": {"path": "/v2/health/ready", "port": "metrics"}}
    live = {"httpGet": {"path": "/v2/health/live", "port": "metrics"}}
    assert template(
        model={**HTTPS, "name": "digits", "caConfigMapRef": {"name": "corp-ca"}},
        runtime={
            "args": ["--log=debug"],
            "env": [
                {"name": "B", "value": "1"},
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ],
        },
        serving={"maxBatchSize": 8, "maxBatchDelay": "5ms", "maxQueue": 16, "requestTimeout": "90s"},
        accelerator={"class": "nvidia-l4", "count": 2},
        resources={"requests": {"cpu": "1000m"}, "limits": {"memory": "4Gi"}},
        startupTimeout="90500ms",
        podTemplate={
            "metadata": {"labels": {"app": "m"}, "annotations": {"a": "b"}},
            "spec": {"priorityClassName": "high", "containers": [{"name": "server", "tty": True}]},
        },
    ) == {
        "metadata": {
            "labels": {
                "app": "m",
                "app.kubernetes.io/managed-by": "modelservice-operator",
                "app.kubernetes.io/part-of": "modelservice",
                "modelservice.dev/name": "m",
                "modelservice.dev/revision": "m-1",
            },
            "annotations": {"a": "b"},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 110,
            "nodeSelector": {"gpu": "l4"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "runtimeClassName": "nvidia",
            "initContainers": [
                {
                    "name": "fetch",
                    "image": "example/server:1",
                    "imagePullPolicy": "IfNotPresent",
                    "args": ["fetch", "https://example.com/m.tar", "/model", "--ca-file=/etc/modelservice/ca/ca.crt"],
                    "env": [
                        {
                            "name": "MODEL_DIGEST",
                            "valueFrom": {"configMapKeyRef": {"name": "m-1", "key": "digest", "optional": True}},
                        }
                    ],
                    "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "4Gi"}},
                    "securityContext": restricted,
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "volumeMounts": [
                        {"name": "model", "mountPath": "/model"},
                        TMP,
                        {"name": "ca", "mountPath": "/etc/modelservice/ca", "readOnly": True},
                    ],
                }
            ],
            "containers": [
                {
                    "name": "server",
                    "image": "example/server:1",
                    "imagePullPolicy": "IfNotPresent",
                    "args": [
                        "serve",
                        "/model/current",
                        "--name=digits",
                        "--port=8080",
                        "--metrics-port=9090",
                        "--digest-file=/model/digest",
                        "--max-batch-size=8",
                        "--max-batch-delay=5ms",
                        "--max-queue=16",
                        "--request-timeout=1m30s",
                        "--log=debug",
                    ],
                    "ports": [
                        {"name": "http", "containerPort": 8080, "protocol": "TCP"},
                        {"name": "metrics", "containerPort": 9090, "protocol": "TCP"},
                    ],
                    "env": [
                        {"name": "B", "value": "1"},
                        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": False}}},
                    ],
                    "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "4Gi", "nvidia.com/gpu": "2"}},
                    "startupProbe": ready | {"periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 91},
                    "readinessProbe": ready | {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
                    "livenessProbe": live | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
                    "securityContext": restricted,
                    "terminationMessagePolicy": "FallbackToLogsOnError",
                    "volumeMounts": [
                        {"name": "model", "mountPath": "/model", "readOnly": True},
                        TMP,
                    ],
                    "tty": True,
                }
            ],
            "volumes": [
                {"name": "tmp", "emptyDir": {}},
                {"name": "model", "emptyDir": {}},
                {"name": "ca", "configMap": {"name": "corp-ca", "optional": True}},
            ],
            "priorityClassName": "high",
        },
    }


# -- where the model comes from


@pytest.mark.parametrize("runtime", [{}, CUSTOM])
@pytest.mark.parametrize("uri", ["pvc://models/a/b", "https://example.com/m.tar"])
def test_a_model_from_elsewhere_is_fetched_by_our_image_and_read_by_any_server(uri: str, runtime: Body) -> None:
    fetches, serves = fetch(model={"uri": uri}, runtime=runtime), server(model={"uri": uri}, runtime=runtime)
    assert fetches["image"] == "example/server:1"
    assert fetches["args"] == ["fetch", uri, "/model"]
    assert {"name": "model", "mountPath": "/model", "readOnly": True} in serves["volumeMounts"]


def test_a_claim_is_mounted_read_only_in_both_containers() -> None:
    mount = {"name": "source", "mountPath": "/mnt/source", "readOnly": True}
    rendered = pod(model={"uri": "pvc://models/a/b"})
    assert by_name(rendered["volumes"])["source"]["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    assert all(mount in rendered[kind][0]["volumeMounts"] for kind in ("initContainers", "containers"))


# -- stores, and what is kept of them


S3 = {"uri": "s3://models/m", "credentialsSecretRef": {"name": "s3-read"}}
HF = {"uri": "hf://org/m", "credentialsSecretRef": {"name": "hub"}}
OCI = {"uri": "oci://registry/m:1", "credentialsSecretRef": {"name": "pull"}}


@pytest.mark.parametrize(
    ("model", "required", "optional"),
    [
        (
            S3,
            {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
            {"AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"},
        ),
        (HF, {"HF_TOKEN"}, {"HF_ENDPOINT"}),
        (OCI, {".dockerconfigjson"}, set()),
        ({"uri": "s3://public/m"}, set(), set()),
    ],
)
@pytest.mark.parametrize("runtime", [{}, CUSTOM])
def test_credentials_are_the_fetch_s_alone_and_only_those_that_are_meant(
    model: Body, required: set[str], optional: set[str], runtime: Body
) -> None:
    rendered = pod(model=model, runtime=runtime)
    variables = {each["name"]: each.get("valueFrom", {}) for each in rendered["initContainers"][0]["env"]}
    keys = {name: source["secretKeyRef"] for name, source in variables.items() if "secretKeyRef" in source}
    assert all(
        name == {".dockerconfigjson": "DOCKER_AUTH_CONFIG"}.get(key["key"], key["key"]) for name, key in keys.items()
    )
    assert {key["key"] for key in keys.values() if not key["optional"]} == required
    assert {key["key"] for key in keys.values() if key["optional"]} == optional
    assert "env" not in rendered["containers"][0]
    assert not any("secret" in volume for volume in rendered["volumes"])


@pytest.mark.parametrize("uri", ["https://example.com/m.tar", "s3://models/m", "hf://org/m", "oci://registry/m"])
@pytest.mark.parametrize("runtime", [{}, CUSTOM])
def test_a_cache_is_written_by_the_fetch_and_read_by_the_server(uri: str, runtime: Body) -> None:
    rendered = pod(model={"uri": uri, "cacheClaimRef": {"name": "models"}}, runtime=runtime)
    fetching, serving = rendered["initContainers"][0], rendered["containers"][0]
    assert "--cache=/mnt/cache" in fetching["args"]
    assert by_name(fetching["volumeMounts"])["cache"] == {"name": "cache", "mountPath": "/mnt/cache"}
    assert by_name(serving["volumeMounts"])["cache"]["readOnly"]
    assert by_name(rendered["volumes"])["cache"]["persistentVolumeClaim"] == {"claimName": "models"}
    assert rendered["securityContext"]["fsGroup"] == 10001


def test_a_model_in_the_image_is_looked_for_where_the_server_runs() -> None:
    own = {"image": "example/torch-with-model:1"}
    assert fetch(model=FILE, runtime=own)["image"] == "example/torch-with-model:1" == server(runtime=own)["image"]
    custom = pod(model=FILE, runtime=CUSTOM)
    assert "initContainers" not in custom
    assert custom["volumes"] == [{"name": "tmp", "emptyDir": {}}]
    assert "volumeMounts" not in custom["containers"][0]


def test_a_digest_of_the_user_s_holds_the_fetch_to_it_and_no_other_pin_is_asked_for() -> None:
    assert fetch(model={**HTTPS, "digest": DIGEST})["env"] == [{"name": "MODEL_DIGEST", "value": DIGEST}]


# -- the server


def test_a_custom_server_gets_its_own_arguments_probes_and_user() -> None:
    paths = {"readinessPath": "/up", "livenessPath": "/alive", "args": ["--x"]}
    rendered = server(runtime={**CUSTOM, **paths})
    assert (rendered["image"], rendered["args"]) == ("example/mine:1", ["--x"])
    assert (
        rendered["readinessProbe"]["httpGet"] == rendered["startupProbe"]["httpGet"] == {"path": "/up", "port": "http"}
    )
    assert rendered["livenessProbe"]["httpGet"] == {"path": "/alive", "port": "http"}
    assert rendered["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert rendered["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}


def test_a_custom_server_that_says_nothing_of_its_health_is_ready_when_its_port_is_open() -> None:
    rendered = server(runtime=CUSTOM)
    assert rendered["readinessProbe"]["tcpSocket"] == {"port": "http"}
    assert "livenessProbe" not in rendered
    assert "args" not in rendered


@pytest.mark.parametrize(
    ("runtime", "port", "path", "ports"),
    [
        ({}, 9090, "/metrics", {"http": 8080, "metrics": 9090}),
        ({"port": 8000}, 9090, "/metrics", {"http": 8000, "metrics": 9090}),
        (CUSTOM, 8080, "", {"http": 8080}),
        ({**CUSTOM, "port": 80, "metricsPath": "/m"}, 80, "/m", {"http": 80}),
        ({**CUSTOM, "metricsPath": "/m", "metricsPort": 81}, 81, "/m", {"http": 8080, "metrics": 81}),
        ({**CUSTOM, "metricsPath": "/m", "metricsPort": 8080}, 8080, "/m", {"http": 8080}),
        ({**CUSTOM, "port": 9090}, 9090, "", {"http": 9090}),
    ],
)
def test_a_server_has_a_port_for_requests_and_one_for_metrics_unless_they_are_one(
    runtime: Body, port: int, path: str, ports: dict[str, int]
) -> None:
    spec = parsed(runtime=runtime)
    assert (metrics_port(spec), metrics_path(spec)) == (port, path)
    assert {each["name"]: each["containerPort"] for each in server(runtime=runtime)["ports"]} == ports


# -- who may ask


AUTH = {"auth": {"tokensSecretRef": {"name": "nlp-tokens"}}}
TLS = {"tls": {"secretRef": {"name": "nlp-tls"}}}


@pytest.mark.parametrize(
    ("security", "flags", "secrets"),
    [
        ({}, [], {}),
        (AUTH, ["--tokens-dir=/etc/modelservice/tokens"], {"tokens": "nlp-tokens"}),
        (
            TLS,
            ["--tls-cert=/etc/modelservice/tls/tls.crt", "--tls-key=/etc/modelservice/tls/tls.key"],
            {"tls": "nlp-tls"},
        ),
        (
            AUTH | TLS,
            [
                "--tokens-dir=/etc/modelservice/tokens",
                "--tls-cert=/etc/modelservice/tls/tls.crt",
                "--tls-key=/etc/modelservice/tls/tls.key",
            ],
            {"tokens": "nlp-tokens", "tls": "nlp-tls"},
        ),
    ],
)
def test_secrets_are_mounted_whole_and_read_by_the_server_alone(
    security: Body, flags: list[str], secrets: dict[str, str]
) -> None:
    rendered = pod(security=security, runtime={"args": ["--last"]})
    serves, fetches = rendered["containers"][0], rendered["initContainers"][0]
    assert serves["args"][10:] == [*flags, "--last"]
    volumes = {each["name"]: each["secret"] for each in rendered["volumes"] if "secret" in each}
    assert volumes == {name: {"secretName": secret, "optional": True} for name, secret in secrets.items()}
    mounts = [{"name": name, "mountPath": f"/etc/modelservice/{name}", "readOnly": True} for name in ("tokens", "tls")]
    for mount in mounts:
        assert (mount in serves["volumeMounts"]) == (mount["name"] in secrets)
        assert mount["name"] not in by_name(fetches["volumeMounts"])
    assert all(serves[probe]["httpGet"]["port"] == "metrics" for probe in ("startupProbe", "livenessProbe"))


@pytest.mark.parametrize(
    ("spec", "https"),
    [
        ({}, False),
        ({"security": AUTH}, False),
        ({"security": TLS}, True),
        ({"security": TLS, "podTemplate": {"spec": {"containers": [{"name": "a"}, {"name": "server"}]}}}, True),
        ({"runtime": CUSTOM, "model": FILE}, False),
    ],
)
def test_a_template_tells_whether_its_server_speaks_tls(spec: Body, https: bool) -> None:
    assert speaks_tls(template(**spec)) is https


# -- where the pod runs


def test_a_class_brings_its_devices_and_its_nodes() -> None:
    rendered = pod(accelerator={"class": "nvidia-l4"})
    assert rendered["containers"][0]["resources"] == {"limits": {"nvidia.com/gpu": "1"}}
    assert rendered["initContainers"][0]["resources"] == {}
    assert (rendered["nodeSelector"], rendered["runtimeClassName"]) == ({"gpu": "l4"}, "nvidia")


def test_a_class_without_devices_says_only_where() -> None:
    rendered = pod(accelerator={"class": "big-cpu"})
    assert rendered["containers"][0]["resources"] == {}
    assert rendered["nodeSelector"] == {"cpu": "big"}
    assert "tolerations" not in rendered


def test_a_resource_brings_devices_alone() -> None:
    rendered = pod(accelerator={"resource": "amd.com/gpu", "count": 3})
    assert rendered["containers"][0]["resources"] == {"limits": {"amd.com/gpu": "3"}}
    assert "nodeSelector" not in rendered


def test_an_unknown_class_is_told_with_those_that_there_are() -> None:
    with pytest.raises(UnknownClassError) as refused:
        template(accelerator={"class": "nvidia-t4"})
    assert str(refused.value) == (
        'spec.accelerator.class "nvidia-t4" is not defined; the administrator\'s classes are: big-cpu, nvidia-l4 '
        "(values.yaml: accelerators)."
    )


# -- the overlay


def overlaid(spec: Body, **more: object) -> Body:
    return pod(podTemplate={"spec": spec}, **more)


def test_the_overlay_reaches_fetch_and_adds_what_it_likes() -> None:
    rendered = overlaid(
        {
            "initContainers": [
                {"name": "fetch", "env": [{"name": "HTTPS_PROXY", "value": "http://p"}]},
                {"name": "wait"},
            ],
            "containers": [{"name": "proxy", "image": "p", "ports": [{"name": "admin", "containerPort": 9901}]}],
            "hostNetwork": True,
            "volumes": [{"name": "cache", "emptyDir": {}}],
        }
    )
    assert [each["name"] for each in rendered["initContainers"]] == ["fetch", "wait"]
    assert [each["name"] for each in rendered["initContainers"][0]["env"]] == ["MODEL_DIGEST", "HTTPS_PROXY"]
    assert [each["name"] for each in rendered["containers"]] == ["server", "proxy"]
    assert rendered["hostNetwork"] is True


def test_labels_of_the_user_s_win_over_customary_ones_but_not_over_those_that_select() -> None:
    labels = template(podTemplate={"metadata": {"labels": {"app.kubernetes.io/part-of": "shop"}}})["metadata"]["labels"]
    assert labels["app.kubernetes.io/part-of"] == "shop"
    assert (labels["modelservice.dev/name"], labels["modelservice.dev/revision"]) == ("m", "m-1")


PORT = {"name": "http", "containerPort": 8081}
KEEP_SERVER = " removes the container server, which serves the model; keep it."
KEEP_FETCH = " removes the init container fetch, which brings and checks the model; keep it."
KEEP_PORT = " removes or renames port http of container server; keep it, its number is set in spec.runtime."
OTHER_NAME = (
    ": container proxy names a port http as server does; the Service finds its port by that name, choose another."
)
NO_GPUS = (
    ": container fetch sets NVIDIA_VISIBLE_DEVICES; NVIDIA_* variables would hand out GPUs past the scheduler, ask for "
    "devices in spec.accelerator."
)


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ({"containers": [{"name": "server", "$patch": "delete"}]}, KEEP_SERVER),
        ({"containers": None}, KEEP_SERVER),
        ({"$patch": "replace", "containers": [{"name": "mine"}]}, KEEP_SERVER),
        ({"initContainers": [{"name": "fetch", "$patch": "delete"}]}, KEEP_FETCH),
        ({"containers": [{"name": "server", "ports": [{"containerPort": 8080, "name": "web"}]}]}, KEEP_PORT),
        ({"containers": [{"name": "server", "ports": None}]}, KEEP_PORT),
        ({"containers": [{"name": "proxy", "ports": [PORT]}]}, OTHER_NAME),
        ({"initContainers": [{"name": "proxy", "restartPolicy": "Always", "ports": [PORT]}]}, OTHER_NAME),
        ({"initContainers": [{"name": "fetch", "env": [{"name": "NVIDIA_VISIBLE_DEVICES"}]}]}, NO_GPUS),
    ],
)
def test_what_the_overlay_may_not_touch_is_told_with_a_remedy(overlay: Body, sentence: str) -> None:
    with pytest.raises(BadOverlayError) as refused:
        overlaid(overlay)
    assert str(refused.value) == f"spec.podTemplate.spec{sentence}"


def test_a_custom_server_without_a_fetch_may_bring_its_own() -> None:
    rendered = overlaid({"initContainers": [{"name": "fetch", "image": "x"}]}, model=FILE, runtime=CUSTOM)
    assert rendered["initContainers"] == [{"name": "fetch", "image": "x"}]


# -- limits of names


def test_a_name_of_45_characters_fits_every_label() -> None:
    name = "m" * 45
    spec: ModelServiceSpec = parse({"metadata": {"name": name}, "spec": {"model": FILE}})
    labels = pod_template(name, f"{name}-bcdfghjkmn", spec, CONFIG)["metadata"]["labels"]
    assert all(len(value) <= 63 for value in labels.values())


def test_the_server_counts_exactly_up_to_the_thresholds_of_objectives() -> None:
    def bounds(**objective: str) -> list[str]:
        args = server(slo={"objectives": [{"target": "99%"} | objective]})["args"]
        return [arg.partition("=")[2] for arg in args if arg.startswith("--latency-buckets=")]

    assert bounds(name="availability") == []
    [own] = bounds(name="latency", threshold="250ms")
    assert tuple(map(float, own.split(","))) == SECONDS
    [more] = bounds(name="latency", threshold="1s500ms")
    assert more == own.replace("1.0,2.5", "1.0,1.5,2.5")


def test_precision_reaches_the_server_where_one_was_chosen() -> None:
    assert "--precision=BFloat16" in server(precision="BFloat16")["args"]
    assert not [arg for arg in server(precision="Auto")["args"] if arg.startswith("--precision")]


def test_ways_to_explain_reach_the_server_in_one_order_where_there_are_any() -> None:
    for methods in (["KernelShap", "Saliency"], ["Saliency", "KernelShap"]):
        assert "--explain=Saliency,KernelShap" in server(explain={"methods": methods})["args"]
    assert not [arg for arg in server(explain={"methods": []})["args"] if arg.startswith("--explain")]


def test_trust_reaches_the_server_where_there_is_any() -> None:
    assert "--trust=Native" in server(model={**HTTPS, "trust": "Native"})["args"]
    assert not [arg for arg in server(model={**HTTPS, "trust": "Data"})["args"] if arg.startswith("--trust")]


SIGNED = {**HTTPS, "trust": "Signed"}


def test_a_signed_model_is_checked_by_the_operators_own_image_and_then_may_do_what_a_native_one_may() -> None:
    found = pod(model=SIGNED, runtime={"image": "example/mine:1"})
    (fetches,), (serves,) = found["initContainers"], found["containers"]
    assert (fetches["image"], serves["image"]) == ("example/server:1", "example/mine:1")
    assert json.loads(by_name(fetches["env"])["MODEL_TRUSTED_KEYS"]["value"]) == CONFIG.trusted_keys
    assert "--trust=Native" in serves["args"]
    assert "MODEL_TRUSTED_KEYS" not in by_name(fetch(model={**HTTPS, "trust": "Native"})["env"])


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        (
            {"initContainers": [{"name": "fetch", "env": [{"name": "MODEL_TRUSTED_KEYS", "value": "{}"}]}]},
            "changes the",
        ),
        ({"initContainers": [{"name": "fetch", "image": "example/mine:1"}]}, "changes the init container fetch or"),
        ({"volumes": [{"name": "model", "emptyDir": {"medium": "Memory"}}]}, "changes the init container fetch or its"),
        (
            {"containers": [{"name": "more", "volumeMounts": [{"name": "model", "mountPath": "/m"}]}]},
            "lets container more write to the volume model, which holds what was signed; mount it with readOnly: true.",
        ),
    ],
)
def test_an_overlay_does_not_stand_between_a_model_and_its_signature(overlay: Body, sentence: str) -> None:
    with pytest.raises(BadOverlayError, match=f"spec.podTemplate.spec {sentence}"):
        overlaid(overlay, model=SIGNED)
    assert overlaid(overlay, model={**HTTPS, "trust": "Native"})


def test_an_overlay_may_read_a_signed_model_and_give_who_fetches_it_more() -> None:
    reads = {"name": "more", "volumeMounts": [{"name": "model", "mountPath": "/m", "readOnly": True}]}
    more = {"name": "fetch", "resources": {"limits": {"memory": "2Gi"}}}
    assert overlaid({"containers": [reads], "initContainers": [more]}, model=SIGNED)


def test_vllm_is_started_as_its_own_command_and_asked_for_its_health() -> None:
    vllm = {"name": "VLLM", "image": "vllm/vllm-openai:v0.11.0", "args": ["--max-model-len=4096"]}
    found = server(runtime=vllm)
    assert found["command"] == ["vllm", "serve"]
    assert found["args"] == ["/model/current", "--served-model-name=m", "--port=8080", "--max-model-len=4096"]
    assert (
        found["readinessProbe"]["httpGet"] == found["livenessProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    )
    assert found["ports"] == [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
    in_image = server(runtime=vllm, model=FILE)
    assert in_image["args"][0] == "/models/m"
    assert "initContainers" not in pod(runtime=vllm, model=FILE)


def test_vllm_spreads_over_its_devices_and_has_room_for_its_processes_to_meet() -> None:
    vllm = {"name": "VLLM", "image": "vllm/vllm-openai:v0.11.0"}
    found = pod(runtime=vllm, accelerator={"class": "nvidia-l4", "count": 2})
    assert "--tensor-parallel-size=2" in found["containers"][0]["args"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in found["containers"][0]["volumeMounts"]  # noqa: S108
    assert {"name": "shm", "emptyDir": {"medium": "Memory"}} in found["volumes"]
