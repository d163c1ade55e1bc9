from __future__ import annotations

from typing import Any

import pytest

from modelservice_operator.config import Limits
from modelservice_operator.limits import NotAllowedError, check, refused_receivers
from modelservice_operator.render.pod import pod_template
from unit.operator.makers import CONFIG, parsed

CUSTOM = {"runtime": {"name": "Custom", "image": "example/mine:1"}}
NATIVE = {"model": {"uri": "pvc://models/m", "trust": "Native"}}
SIGNED = {"model": {"uri": "pvc://models/m", "trust": "Signed"}}


def refusal(limits: dict[str, Any], **spec: object) -> str:
    """What a spec is told under these limits; empty: nothing stands against it."""
    config = CONFIG.model_copy(update={"limits": Limits(**limits)})
    wanted = parsed(**spec)
    try:
        check(wanted, pod_template("m", "m-1", wanted, config)["spec"], config)
    except NotAllowedError as error:
        return str(error)
    return ""


def overlay(**pod: object) -> dict[str, Any]:
    return {"podTemplate": {"spec": pod}}


def server(**container: object) -> dict[str, Any]:
    return overlay(containers=[{"name": "server", **container}])


@pytest.mark.parametrize("spec", [{}, CUSTOM, NATIVE, overlay(serviceAccountName="admin"), server(command=["sh"])])
def test_without_limits_everything_is_allowed(spec: dict[str, Any]) -> None:
    assert refusal({}, **spec) == ""


@pytest.mark.parametrize("limits", [{"trust": ("Data",)}, {"images": ()}, {"service_accounts": ()}])
def test_the_usual_is_always_allowed(limits: dict[str, Any]) -> None:
    assert refusal(limits) == ""


def test_a_refusal_names_the_limit_and_who_sets_it() -> None:
    assert refusal({"images": ("a/**", "b:*")}, **CUSTOM) == (
        'Image "example/mine:1" of container server is not allowed by the administrator; allowed are: a/**, b:*, the '
        "operator's own (values.yaml: limits.images)."
    )
    assert refusal({"trust": ("Data",)}, **NATIVE) == (
        'spec.model.trust "Native" is not allowed by the administrator; allowed are: Data (values.yaml: limits.trust).'
    )
    assert refusal({"service_accounts": ("reader",)}, **overlay(serviceAccountName="admin")) == (
        'serviceAccountName "admin" in spec.podTemplate.spec is not allowed by the administrator; allowed are: '
        "default, reader (values.yaml: limits.serviceAccounts)."
    )


def test_nothing_signed_is_served_where_nobody_may_sign() -> None:
    wanted, config = parsed(**SIGNED), CONFIG.model_copy(update={"trusted_keys": {}})
    with pytest.raises(NotAllowedError) as refused:
        check(wanted, pod_template("m", "m-1", wanted, config)["spec"], config)
    assert str(refused.value) == (
        'spec.model.trust "Signed" needs the public keys of those who may sign, and the administrator has named none '
        "(values.yaml: trustedKeys)."
    )


def test_what_is_signed_may_be_all_that_is_allowed() -> None:
    assert refusal({"trust": ("Signed",)}, **SIGNED) == ""
    assert "limits.trust" in refusal({"trust": ("Signed",)}, **NATIVE)
    assert "limits.trust" in refusal({"trust": ("Signed",)})


def test_all_that_is_refused_is_told_at_once() -> None:
    told = refusal({"images": (), "trust": ("Data",)}, **NATIVE, **server(image="x"))
    assert "limits.trust" in told
    assert "limits.images" in told


@pytest.mark.parametrize(
    ("pattern", "image", "is_allowed"),
    [
        ("example/mine:1", "example/mine:1", True),
        ("example/mine:1", "example/mine:10", False),
        ("example/mine:1", "evil.example/mine:1", False),
        ("example.com/mine:1", "examplexcom/mine:1", False),
        ("example/*", "example/mine:1", True),
        ("example/*", "example/team/mine:1", False),
        ("example/**", "example/team/mine:1", True),
        ("example/**", "example", False),
        ("example/*:1", "example/mine:1", True),
        ("example/*@sha256:*", "example/mine@sha256:abc", True),
        ("example/*@sha256:*", "example/mine:1", False),
        ("*.example.com/**", "evil.com/a.example.com/x", False),
        ("**", "anything/at:all", True),
        ("*", "nginx", True),
        ("*", "example/nginx", False),
    ],
)
def test_images_are_compared_as_they_are_written(pattern: str, image: str, is_allowed: bool) -> None:
    assert (refusal({"images": (pattern,)}, runtime={"name": "Custom", "image": image}) == "") is is_allowed


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"runtime": {"image": "example/torch:1"}}, "container fetch"),
        (server(image="bad"), "container server"),
        (overlay(containers=[{"name": "sidecar", "image": "bad"}]), "container sidecar"),
        (overlay(containers=[{"name": "sidecar"}]), "container sidecar"),
        (overlay(initContainers=[{"name": "fetch", "image": "bad"}]), "container fetch"),
        (overlay(initContainers=[{"name": "first", "image": "bad"}]), "container first"),
        (overlay(volumes=[{"name": "files", "image": {"reference": "bad"}}]), "volume files"),
    ],
)
def test_no_part_of_the_pod_is_a_way_around_the_images(spec: dict[str, Any], where: str) -> None:
    assert f" of {where} is not allowed" in refusal({"images": ("good",)}, **spec)


def test_the_operator_s_own_image_is_allowed_to_every_container() -> None:
    assert refusal({"images": ()}, **overlay(containers=[{"name": "sidecar", "image": CONFIG.images.server}])) == ""


@pytest.mark.parametrize(
    ("pod", "is_allowed"),
    [
        ({"serviceAccountName": "default"}, True),
        ({"serviceAccountName": "reader"}, True),
        ({"serviceAccount": "reader"}, True),
        ({"serviceAccountName": None}, True),
        ({"serviceAccountName": "admin"}, False),
        ({"serviceAccount": "admin"}, False),
        ({"serviceAccountName": "reader", "serviceAccount": "admin"}, False),
    ],
)
def test_a_service_account_is_limited_by_both_of_its_names(pod: dict[str, Any], is_allowed: bool) -> None:
    assert (refusal({"service_accounts": ("reader",)}, **overlay(**pod)) == "") is is_allowed


@pytest.mark.parametrize(
    "spec",
    [
        {"runtime": {"args": ["--trust=Native"]}},
        {"runtime": {"args": ["--trust", "Native"]}},
        {"runtime": {"args": ["--tru=Native"]}},
        server(args=["serve", "/model/current", "--trust=Native"]),
        server(command=["model-server", "serve", "--trust=Native"]),
    ],
)
def test_neither_arguments_nor_a_command_are_a_way_around_the_trust(spec: dict[str, Any]) -> None:
    assert "(values.yaml: limits.trust)" in refusal({"trust": ("Data",)}, **spec)
    assert refusal({"trust": ("Data", "Native")}, **spec) == ""


def test_the_trust_of_a_server_that_is_not_ours_is_the_image_s_business() -> None:
    custom = {"name": "Custom", "image": "example/mine:1", "args": ["--trace"]}
    assert refusal({"trust": ("Data",)}, runtime=custom) == ""


def test_what_no_pod_can_be_is_left_to_the_api_server() -> None:
    assert refusal({"images": ("**",)}, **overlay(volumes=[{"name": "files", "image": "bad"}])) == ""


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [(None, []), (("slack", "webhook"), []), (("webhook",), ["slack"]), ((), ["webhook", "slack"])],
)
def test_a_receiver_of_alerts_is_limited_by_its_kind(allowed: tuple[str, ...] | None, refused: list[str]) -> None:
    key = {"urlSecretRef": {"name": "s", "key": "k"}}
    alerting = parsed(monitoring={"alerting": {"receiver": {"slack": key, "webhook": key}}}).monitoring.alerting
    assert alerting is not None
    told = refused_receivers(alerting.receiver, CONFIG.model_copy(update={"limits": Limits(alerting=allowed)}))
    known = ", ".join(allowed or ()) or "none"
    assert told == " ".join(
        f"spec.monitoring.alerting.receiver.{kind} is not allowed by the administrator; allowed are: {known} "
        "(values.yaml: limits.alerting)."
        for kind in refused
    )
