"""Holds what a user asks for to the administrator's limits. No I/O.

The rendered pod is judged, not the spec: whatever brings an image or a service account into it, the overlay included.
Who is told of alerts is no matter of pods, and is asked about apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelservice_operator import names
from modelservice_operator.api.types import ModelServiceSpec, Receiver, RuntimeName, Trust
from modelservice_operator.render.pod import trust_flag

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from modelservice_operator.config import Config

Pod = dict[str, Any]

_DEFAULT_ACCOUNT = "default"  # of every namespace; what a pod gets that names none


class NotAllowedError(ValueError):
    """A limit of the administrator stands against the spec; the message names it."""


def check(spec: ModelServiceSpec, pod: Pod, config: Config) -> None:
    """Raise NotAllowedError with a sentence for each limit that stands against `pod`, rendered for `spec`."""
    found = [
        *_signers(spec, config),
        *_trust(spec, pod, config),
        *_images(pod, config),
        *_service_accounts(pod, config),
    ]
    if found:
        raise NotAllowedError(" ".join(found))


def refused_receivers(receiver: Receiver, config: Config) -> str:
    """Return a sentence for each kind of receiver that users may not have told of alerts; empty: all are allowed."""
    allowed = config.limits.alerting
    if allowed is None:
        return ""
    asked = [kind for kind in Receiver.model_fields if getattr(receiver, kind) is not None]
    what = "spec.monitoring.alerting.receiver."
    return " ".join(_refusal(f"{what}{kind}", allowed, "alerting") for kind in asked if kind not in allowed)


def _signers(spec: ModelServiceSpec, config: Config) -> Iterator[str]:
    if spec.model.trust is Trust.SIGNED and not config.trusted_keys:
        yield (
            f'spec.model.trust "{Trust.SIGNED}" needs the public keys of those who may sign, and the administrator has '
            "named none (values.yaml: trustedKeys)."
        )


def _trust(spec: ModelServiceSpec, pod: Pod, config: Config) -> Iterator[str]:
    """The server's own arguments come first, so that a later one, or another command, would go past the spec."""
    allowed = config.limits.trust
    if allowed is None:
        return
    if spec.model.trust not in allowed:
        yield _refusal(f'spec.model.trust "{spec.model.trust}"', allowed, "trust")
    if Trust.NATIVE in allowed or spec.runtime.name is not RuntimeName.TORCH:
        return
    server = next(each for each in pod["containers"] if each["name"] == names.SERVER)
    said = trust_flag(spec.model.trust)
    for argument in server.get("args") or ():
        if str(argument).startswith("--tr") and argument != said:  # an option may be cut short
            yield _refusal(f'Argument "{argument}" of container {names.SERVER}', allowed, "trust")
    if server.get("command"):
        yield _refusal(f"A command of its own for container {names.SERVER}", allowed, "trust")


def _images(pod: Pod, config: Config) -> Iterator[str]:
    allowed = config.limits.images
    if allowed is None:
        return
    for where, image in _all_images(pod):
        if image != config.images.server and not any(_matches(pattern, image) for pattern in allowed):
            yield _refusal(f'Image "{image}" of {where}', [*allowed, "the operator's own"], "images")


def _service_accounts(pod: Pod, config: Config) -> Iterator[str]:
    allowed = config.limits.service_accounts
    if allowed is None:
        return
    for field in ("serviceAccountName", "serviceAccount"):  # the second is an old name of the first
        account = pod.get(field) or _DEFAULT_ACCOUNT
        if account != _DEFAULT_ACCOUNT and account not in allowed:
            what = f'{field} "{account}" in spec.podTemplate.spec'
            yield _refusal(what, [_DEFAULT_ACCOUNT, *allowed], "serviceAccounts")


def _refusal(what: str, allowed: Iterable[str], limit: str) -> str:
    known = ", ".join(allowed) or "none"
    return f"{what} is not allowed by the administrator; allowed are: {known} (values.yaml: limits.{limit})."


def _all_images(pod: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return every image that the pod pulls, after what it is for."""
    for kind in ("initContainers", "containers"):
        for container in pod.get(kind) or ():
            yield f"container {container['name']}", str(container.get("image") or "")
    for volume in pod.get("volumes") or ():
        if isinstance(source := volume.get("image"), Mapping):
            yield f"volume {volume['name']}", str(source.get("reference") or "")


def _matches(pattern: str, image: str) -> bool:
    """Compare as written: `*` stands for anything without a slash, `**` for anything."""
    parts = re.split(r"(\*\*|\*)", pattern)
    wild = {"**": ".*", "*": "[^/]*"}
    return re.fullmatch("".join(wild.get(part) or re.escape(part) for part in parts), image) is not None
