"""Specs that must pass and specs that must not, for the types here and for a real API server in tests/controlplane."""

from __future__ import annotations

from typing import Any, NamedTuple

Spec = dict[str, Any]

MODEL = {"uri": "pvc://models/digits"}
DIGEST = "sha256:" + "0123456789abcdef" * 4
CUSTOM = {"name": "Custom", "image": "example.com/server:1"}
VLLM = {"name": "VLLM", "image": "vllm/vllm-openai:v0.11.0"}

URI = "must be file:///path (in the image), pvc://claim/path, https://host/path, s3://bucket/path, hf://org/repo"
TORCH = "are for the Torch runtime; another server has"
KEYS = "keys are names such as app or example.com/team"


def spec(**blocks: object) -> Spec:
    """Return the smallest valid spec with `blocks` in it."""
    return {"model": MODEL, **blocks}


LATENCY = {"name": "latency", "target": "99%", "threshold": "250ms"}


def objectives(*objectives: object) -> Spec:
    return {"objectives": [*objectives]}


VALID: dict[str, Spec] = {
    "the smallest": spec(),
    "everything at once": spec(
        model={"name": "Digits_v2.1", "uri": "https://h.example:8443/a/b.tar.gz?x=%20", "digest": DIGEST}
        | {"caConfigMapRef": {"name": "corp-ca"}},
        runtime={"name": "Torch", "image": "localhost/a/b:dev", "port": 8081, "args": ["--verbose", ""]}
        | {
            "env": [
                {"name": "A", "value": "1"},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ]
        },
        serving={"maxBatchSize": 1, "maxBatchDelay": "1s500ms", "maxQueue": 1, "requestTimeout": "1h"},
        accelerator={"class": "nvidia-l4", "count": 2},
        resources={"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": 1073741824}},
        startupTimeout="1h30m",
        service={"type": "LoadBalancer", "annotations": {"example.com/lb": "internal"}},
        podTemplate={"metadata": {"labels": {"app": "digits"}, "annotations": {"a": "b c\n"}}}
        | {"spec": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}]}},
        replicas=3,
        rollout={"paused": True},
    ),
    "a bucket, with everything": spec(
        model={"uri": "s3://models/nlp/3"}
        | {
            "credentialsSecretRef": {"name": "s3-read"},
            "caConfigMapRef": {"name": "ca"},
            "cacheClaimRef": {"name": "c"},
        }
    ),
    "a whole bucket": spec(model={"uri": "s3://Old.Bucket_1"}),
    "a repository of the Hub": spec(model={"uri": "hf://org/nlp", "credentialsSecretRef": {"name": "hf"}}),
    "a path in a revision": spec(model={"uri": "hf://Org-1/n.l_p@refs%2Fpr%2F1/a/b"}),
    "an artefact": spec(model={"uri": "oci://registry:5000/team/nlp:1.2", "credentialsSecretRef": {"name": "pull"}}),
    "an artefact of a digest": spec(model={"uri": f"oci://ghcr.io/team/nlp@sha256:{64 * 'a'}"}),
    "a cache for https": spec(model={"uri": "https://h/m.tar", "cacheClaimRef": {"name": "models"}}),
    "objectives": spec(
        slo={"window": "7d"}
        | objectives({"name": "availability", "target": "99.9%"}, LATENCY | {"threshold": "1s500ms"})
    ),
    "a threshold just below a timeout": spec(slo=objectives(LATENCY | {"threshold": "9999ms"})),
    "a long threshold with a longer timeout": spec(
        serving={"requestTimeout": "1h"}, slo=objectives(LATENCY | {"threshold": "30m"})
    ),
    "the loosest and the strictest target": spec(
        slo=objectives({"name": "availability", "target": "50.000%"}, LATENCY | {"target": "99.999%"})
    ),
    "a model in the image": spec(model={"uri": "file:///models/digits", "digest": DIGEST}),
    "a model in an image of the user's": spec(model={"uri": "file:///models/digits", "digest": ""}, runtime=CUSTOM),
    "explanations": spec(explain={"methods": ["KernelShap", "IntegratedGradients"]}),
    "half the bits": spec(precision="BFloat16"),
    "a model with code of its own": spec(model={**MODEL, "trust": "Native"}),
    "inputs that are watched": spec(monitoring={"drift": {"psi": "0.1", "for": "1h"}}),
    "a signed model for a custom server": spec(model={**MODEL, "trust": "Signed"}, runtime=CUSTOM),
    "tokens and a certificate": spec(
        security={"auth": {"tokensSecretRef": {"name": "tokens"}}, "tls": {"secretRef": {"name": "digits-tls"}}}
    ),
    "who may connect": spec(
        runtime=CUSTOM,
        security={
            "networkPolicy": {
                "enabled": True,
                "egress": "Restricted",
                "allowFrom": [
                    {"podSelector": {}},
                    {"namespaceSelector": {"matchLabels": {"team": "a"}}, "podSelector": {"matchLabels": {"a": ""}}},
                    {"ipBlock": {"cidr": "192.168.0.1/16"}},
                    {"ipBlock": {"cidr": "fd00::/8"}},
                ],
            }
        },
    ),
    "everything that vLLM can promise": spec(
        runtime={**VLLM, "port": 9090},
        slo=objectives(
            {"name": "availability", "target": "99.9%"},
            {"name": "latency", "target": "99%", "threshold": "30s"},
            {"name": "firstToken", "target": "99%", "threshold": "250ms"},
            {"name": "interToken", "target": "99%", "threshold": "50ms"},
        ),
    ),
    "a custom server with metrics": spec(
        runtime=CUSTOM
        | {
            "metricsPath": "/metrics",
            "metrics": {
                "requests": "http:requests_total",
                "errors": 'http:requests_total{code=~"5..",method!="GET"}',
                "latency": "seconds",
            },
        },
        slo=objectives(
            {"name": "availability", "target": "99%"}, {"name": "latency", "target": "99%", "threshold": "1m"}
        ),
    ),
    "people to call": spec(
        monitoring={
            "alerting": {
                "receiver": {
                    "webhook": {"urlSecretRef": {"name": "alerts", "key": "webhook"}},
                    "slack": {"urlSecretRef": {"name": "alerts", "key": "slack"}, "channel": "#nlp"},
                    "pagerduty": {"routingKeySecretRef": {"name": "alerts", "key": "pagerduty"}},
                }
            }
        }
    ),
    "security of a custom server, which is none": spec(runtime=CUSTOM, security={}),
    "a claim's root": spec(model={"uri": "pvc://models/"}),
    "an empty digest, as templates write it": spec(model={**MODEL, "digest": ""}),
    "empty blocks": spec(runtime={}, serving={}, resources={}, service={}, podTemplate={}, security={}, rollout={}),
    "a custom server": spec(runtime={**CUSTOM, "port": 9090, "metricsPort": 9090, "metricsPath": "/metrics"}),
    "a device by its resource": spec(accelerator={"resource": "nvidia.com/gpu"}),
    "zero replicas": spec(replicas=0),
    "a ConfigMap's variable": spec(
        runtime={
            "env": [{"name": "a.b-c", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k", "optional": True}}}]
        }
    ),
    "replicas that follow the requests": spec(autoscaling={"maxReplicas": 4}),
    "all about replicas": spec(
        replicas=2,
        autoscaling={"engine": "HPA", "minReplicas": 2, "maxReplicas": 8, "inflightPerReplica": 11}
        | {
            "scaleDownDelay": "10m",
            "schedules": [
                {"cron": "30 7 * * MON-FRI", "timeZone": "America/Argentina/Ushuaia", "minReplicas": 8},
                {"cron": "0,30 */6 1-31/2 * 0", "maxReplicas": 2},
                {"cron": "0 20 * * *"},
            ],
        },
    ),
    "no replicas while nobody asks": spec(
        autoscaling={"engine": "KEDA", "minReplicas": 0, "maxReplicas": 1}
        | {"schedules": [{"cron": "0 8 * * *", "minReplicas": 1}, {"cron": "0 20 * * *", "minReplicas": 0}]}
    ),
    "a custom server that tells what is in flight": spec(
        runtime=CUSTOM | {"metricsPath": "/metrics", "metrics": {"inflight": 'requests{state="open"}'}},
        autoscaling={"maxReplicas": 2},
    ),
    "other resources": spec(resources={"limits": {"ephemeral-storage": "1.5e3", "hugepages-2Mi": "2Mi"}}),
}


class Invalid(NamedTuple):
    """A spec, the path that is blamed, and what the user reads; None where the schema speaks instead of a rule."""

    spec: Spec
    path: str
    message: str | None = None


INVALID: dict[str, Invalid] = {
    "nobody to call": Invalid(
        spec(monitoring={"alerting": {"receiver": {}}}),
        "spec.monitoring.alerting.receiver",
        "give at least one of webhook, slack and pagerduty",
    ),
    "drift of a custom server's inputs": Invalid(spec(monitoring={"drift": {}}, runtime=CUSTOM), "spec", TORCH),
    "drift that is no number": Invalid(spec(monitoring={"drift": {"psi": "much"}}), "spec.monitoring.drift.psi"),
    "no model": Invalid({}, "spec.model"),
    "no uri": Invalid(spec(model={}), "spec.model.uri"),
    "an unknown scheme": Invalid(spec(model={"uri": "gs://models/digits"}), "spec.model.uri", URI),
    "a claim without a path": Invalid(spec(model={"uri": "pvc://models"}), "spec.model.uri", URI),
    "a way out of the claim": Invalid(spec(model={"uri": "pvc://models/../x"}), "spec.model.uri", URI),
    "a password in the uri": Invalid(spec(model={"uri": "https://me:secret@h/x"}), "spec.model.uri", URI),
    "a space in the uri": Invalid(spec(model={"uri": "https://h/a b"}), "spec.model.uri", URI),
    "a short digest": Invalid(spec(model={**MODEL, "digest": "sha256:abc"}), "spec.model.digest"),
    "a slash in the model's name": Invalid(spec(model={**MODEL, "name": "a/b"}), "spec.model.name"),
    "an unknown explanation": Invalid(spec(explain={"methods": ["Guess"]}), "spec.explain.methods[0]"),
    "explanations of a custom server": Invalid(spec(explain={"methods": ["Saliency"]}, runtime=CUSTOM), "spec", TORCH),
    "an unknown precision": Invalid(spec(precision="Int4"), "spec.precision"),
    "precision for a custom server": Invalid(spec(precision="Float32", runtime=CUSTOM), "spec", TORCH),
    "an unknown trust": Invalid(spec(model={**MODEL, "trust": "Full"}), "spec.model.trust"),
    "a signed model in the image": Invalid(
        spec(model={"uri": "file:///models/digits", "trust": "Signed"}),
        "spec.model",
        "Signed is for models that are fetched",
    ),
    "trust for a custom server": Invalid(
        spec(model={**MODEL, "trust": "Native"}, runtime=CUSTOM),
        "spec",
        TORCH,
    ),
    "authorities for a claim": Invalid(
        spec(model={**MODEL, "caConfigMapRef": {"name": "ca"}}),
        "spec.model",
        "caConfigMapRef is for https, s3, hf and oci sources; remove it",
    ),
    "credentials for https": Invalid(
        spec(model={"uri": "https://h/m.tar", "credentialsSecretRef": {"name": "s"}}),
        "spec.model",
        "credentialsSecretRef is for s3, hf and oci sources; remove it",
    ),
    "a cache for a claim": Invalid(
        spec(model={**MODEL, "cacheClaimRef": {"name": "c"}}),
        "spec.model",
        "cacheClaimRef is for https, s3, hf and oci sources; remove it",
    ),
    "a way out of the bucket": Invalid(spec(model={"uri": "s3://models/../x"}), "spec.model.uri", URI),
    "a repository without its owner": Invalid(spec(model={"uri": "hf://nlp"}), "spec.model.uri", URI),
    "a registry with a user": Invalid(spec(model={"uri": "oci://me@registry/nlp"}), "spec.model.uri", URI),
    "a digest that is none": Invalid(spec(model={"uri": "oci://registry/nlp@sha256:1"}), "spec.model.uri", URI),
    "an unknown runtime": Invalid(spec(runtime={"name": "Vllm"}), "spec.runtime.name"),
    "custom without an image": Invalid(
        spec(runtime={"name": "Custom"}), "spec.runtime", "a Custom or VLLM runtime needs image"
    ),
    "probes for Torch": Invalid(
        spec(runtime={"readinessPath": "/up"}),
        "spec.runtime",
        "are for a Custom runtime; those of other servers are known",
    ),
    "a metrics port without a path": Invalid(
        spec(runtime={**CUSTOM, "metricsPort": 9}), "spec.runtime", "metricsPort and metrics need metricsPath"
    ),
    "Torch on its metrics port": Invalid(
        spec(runtime={"port": 9090}), "spec.runtime", "port 9090 is the Torch server's"
    ),
    "port zero": Invalid(spec(runtime={"port": 0}), "spec.runtime.port"),
    "a port in quotes": Invalid(spec(runtime={"port": "8080"}), "spec.runtime.port"),
    "a path that is none": Invalid(spec(runtime={**CUSTOM, "livenessPath": "up"}), "spec.runtime.livenessPath"),
    "GPUs past the scheduler": Invalid(
        spec(runtime={"env": [{"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"}]}),
        "spec.runtime.env[0].name",
        "NVIDIA_* variables would hand out GPUs past the scheduler; ask for devices in spec.accelerator",
    ),
    "a number as a variable": Invalid(spec(runtime={"env": [{"name": "A", "value": 1}]}), "spec.runtime.env[0].value"),
    "a variable with two values": Invalid(
        spec(runtime={"env": [{"name": "A", "value": "", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
        "spec.runtime.env[0]",
        "give either value or valueFrom",
    ),
    "a variable from nowhere": Invalid(
        spec(runtime={"env": [{"name": "A", "valueFrom": {}}]}),
        "spec.runtime.env[0].valueFrom",
        "give either secretKeyRef or configMapKeyRef",
    ),
    "batching for a custom server": Invalid(spec(runtime=CUSTOM, serving={"maxBatchSize": 2}), "spec", TORCH),
    "tokens for a custom server": Invalid(
        spec(runtime=CUSTOM, security={"auth": {"tokensSecretRef": {"name": "t"}}}),
        "spec",
        TORCH,
    ),
    "TLS for a custom server": Invalid(
        spec(runtime=CUSTOM, security={"tls": {"secretRef": {"name": "t"}}}),
        "spec",
        TORCH,
    ),
    "tokens from nowhere": Invalid(spec(security={"auth": {}}), "spec.security.auth.tokensSecretRef"),
    "TLS without a Secret's name": Invalid(
        spec(security={"tls": {"secretRef": {}}}), "spec.security.tls.secretRef.name"
    ),
    "no objectives": Invalid(spec(slo={"window": "7d"}), "spec.slo.objectives"),
    "an empty list of objectives": Invalid(
        spec(slo=objectives()), "spec.slo.objectives", "give at least one objective"
    ),
    "an unknown objective": Invalid(
        spec(slo=objectives({"name": "accuracy", "target": "99%"})), "spec.slo.objectives[0].name"
    ),
    "an unknown window": Invalid(spec(slo=objectives(LATENCY) | {"window": "90d"}), "spec.slo.window"),
    "a target without its sign": Invalid(
        spec(slo=objectives(LATENCY | {"target": "0.99"})), "spec.slo.objectives[0].target", "must be a percentage"
    ),
    "a target as a number": Invalid(spec(slo=objectives(LATENCY | {"target": 99.9})), "spec.slo.objectives[0].target"),
    "a target that leaves no budget": Invalid(
        spec(slo=objectives(LATENCY | {"target": "100%"})), "spec.slo.objectives[0].target", "must be a percentage"
    ),
    "a target of hardly anything": Invalid(
        spec(slo=objectives(LATENCY | {"target": "49.9%"})),
        "spec.slo.objectives[0].target",
        "must be a percentage from",
    ),
    "latency without a threshold": Invalid(
        spec(slo=objectives({"name": "latency", "target": "99%"})),
        "spec.slo.objectives[0]",
        "latency needs a threshold, such as 250ms; availability has none",
    ),
    "availability with a threshold": Invalid(
        spec(slo=objectives(LATENCY | {"name": "availability"})),
        "spec.slo.objectives[0]",
        "latency needs a threshold, such as 250ms; availability has none",
    ),
    "a threshold that no answer could miss": Invalid(
        spec(slo=objectives(LATENCY | {"threshold": "10s"})), "spec", "a latency threshold must be shorter than"
    ),
    "a threshold beyond a short timeout": Invalid(
        spec(serving={"requestTimeout": "200ms"}, slo=objectives(LATENCY)),
        "spec",
        "a latency threshold must be shorter",
    ),
    "objectives of a custom server": Invalid(
        spec(runtime=CUSTOM, slo=objectives({"name": "availability", "target": "99%"})),
        "spec",
        "an objective cannot be measured",
    ),
    "tokens of a Torch server": Invalid(
        spec(slo=objectives({"name": "firstToken", "target": "99%", "threshold": "250ms"})),
        "spec",
        "firstToken and interToken need a VLLM runtime",
    ),
    "an objective whose metric a custom server does not name": Invalid(
        spec(
            runtime={**CUSTOM, "metricsPath": "/metrics", "metrics": {"latency": "seconds"}},
            slo=objectives({"name": "availability", "target": "99%"}),
        ),
        "spec",
        "a Custom one needs the metrics of each objective in runtime.metrics",
    ),
    "errors without requests": Invalid(
        spec(runtime={**CUSTOM, "metricsPath": "/metrics", "metrics": {"errors": "failed"}}),
        "spec.runtime.metrics",
        "requests and errors need each other",
    ),
    "a metric that ends in another query": Invalid(
        spec(runtime={**CUSTOM, "metricsPath": "/metrics", "metrics": {"latency": 'a{b="c"} or x{d="e"}'}}),
        "spec.runtime.metrics.latency",
    ),
    "vLLM without an image": Invalid(
        spec(runtime={"name": "VLLM"}), "spec.runtime", "a Custom or VLLM runtime needs image"
    ),
    "a threshold that vLLM has no bucket for": Invalid(
        spec(runtime=VLLM, slo=objectives({"name": "firstToken", "target": "99%", "threshold": "300ms"})),
        "spec",
        "vLLM's histograms have no bucket that ends at the threshold",
    ),
    "nobody in particular": Invalid(
        spec(security={"networkPolicy": {"allowFrom": [{}]}}),
        "spec.security.networkPolicy.allowFrom[0]",
        "give podSelector, namespaceSelector or both, or else ipBlock",
    ),
    "pods that are addresses": Invalid(
        spec(security={"networkPolicy": {"allowFrom": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}}),
        "spec.security.networkPolicy.allowFrom[0]",
        "give podSelector, namespaceSelector or both, or else ipBlock",
    ),
    "an address for a range": Invalid(
        spec(security={"networkPolicy": {"allowFrom": [{"ipBlock": {"cidr": "10.0.0.1"}}]}}),
        "spec.security.networkPolicy.allowFrom[0].ipBlock.cidr",
        "must be a range of addresses such as 10.0.0.0/8 or fd00::/8",
    ),
    "a range that is none": Invalid(
        spec(security={"networkPolicy": {"allowFrom": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}}),
        "spec.security.networkPolicy.allowFrom[0].ipBlock.cidr",
        "must be a range of addresses such as 10.0.0.0/8 or fd00::/8",
    ),
    "egress that is none": Invalid(
        spec(security={"networkPolicy": {"egress": "Closed"}}), "spec.security.networkPolicy.egress"
    ),
    "a digest that nobody can check": Invalid(
        spec(model={"uri": "file:///models/digits", "digest": DIGEST}, runtime=CUSTOM),
        "spec",
        TORCH,
    ),
    "no batch at all": Invalid(spec(serving={"maxBatchSize": 0}), "spec.serving.maxBatchSize"),
    "a duration without a unit": Invalid(
        spec(startupTimeout="10"),
        "spec.startupTimeout",
        "must be a duration ",
    ),
    "a unit that is none": Invalid(
        spec(serving={"maxBatchDelay": "10us"}), "spec.serving.maxBatchDelay", "must be a duration "
    ),
    "too long a timeout": Invalid(
        spec(serving={"requestTimeout": "61m"}), "spec.serving.requestTimeout", "must be a duration from 1ms to 1h"
    ),
    "a class and a resource": Invalid(
        spec(accelerator={"class": "l4", "resource": "nvidia.com/gpu"}), "spec.accelerator", "give either class"
    ),
    "neither class nor resource": Invalid(spec(accelerator={"count": 1}), "spec.accelerator", "give either class"),
    "no devices": Invalid(spec(accelerator={"class": "l4", "count": 0}), "spec.accelerator.count"),
    "a resource without a domain": Invalid(spec(accelerator={"resource": "gpu"}), "spec.accelerator.resource"),
    "devices counted twice": Invalid(
        spec(accelerator={"resource": "nvidia.com/gpu"}, resources={"limits": {"nvidia.com/gpu": 1}}),
        "spec",
        "resources names the resource of accelerator; remove it there",
    ),
    "a request beyond its limit": Invalid(
        spec(resources={"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}),
        "spec.resources",
        "a request may not be larger than its limit",
    ),
    "no quantity": Invalid(spec(resources={"requests": {"cpu": "two"}}), "spec.resources.requests.cpu"),
    "a negative quantity": Invalid(spec(resources={"requests": {"cpu": -1}}), "spec.resources.requests.cpu"),
    "a misspelt unit": Invalid(spec(resources={"limits": {"memory": "4GB"}}), "spec.resources.limits.memory"),
    "a resource with a space": Invalid(spec(resources={"limits": {"c pu": 1}}), "spec.resources.limits", KEYS),
    "an unknown service type": Invalid(spec(service={"type": "ExternalName"}), "spec.service.type"),
    "our prefix in annotations": Invalid(
        spec(service={"annotations": {"modelservice.dev/x": "y"}}),
        "spec.service.annotations",
        "keys that start with modelservice.dev/ belong to the operator; choose another prefix",
    ),
    "our prefix in labels": Invalid(
        spec(podTemplate={"metadata": {"labels": {"modelservice.dev/name": "x"}}}),
        "spec.podTemplate.metadata.labels",
        "keys that start with modelservice.dev/ belong to the operator",
    ),
    "a label's key with two slashes": Invalid(
        spec(podTemplate={"metadata": {"labels": {"a/b/c": "x"}}}), "spec.podTemplate.metadata.labels", KEYS
    ),
    "a label's key too long": Invalid(
        spec(podTemplate={"metadata": {"labels": {"a/" + "b" * 64: "x"}}}), "spec.podTemplate.metadata.labels", KEYS
    ),
    "a label with a space": Invalid(
        spec(podTemplate={"metadata": {"labels": {"app": "a b"}}}), "spec.podTemplate.metadata.labels.app"
    ),
    "negative replicas": Invalid(spec(replicas=-1), "spec.replicas"),
    "no most": Invalid(spec(autoscaling={}), "spec.autoscaling.maxReplicas"),
    "fewer than the fewest": Invalid(
        spec(autoscaling={"minReplicas": 3, "maxReplicas": 2}), "spec.autoscaling", "minReplicas must not be above max"
    ),
    "fewer than the fewest at times": Invalid(
        spec(autoscaling={"maxReplicas": 4, "schedules": [{"cron": "0 8 * * *", "minReplicas": 5}]}),
        "spec.autoscaling",
        "minReplicas must not be above maxReplicas, in no schedule either",
    ),
    "zero without a signal": Invalid(
        spec(autoscaling={"minReplicas": 0, "maxReplicas": 2}), "spec.autoscaling", "minReplicas: 0 needs engine: KEDA"
    ),
    "zero without a signal at times": Invalid(
        spec(autoscaling={"maxReplicas": 4, "schedules": [{"cron": "0 8 * * *", "minReplicas": 0}]}),
        "spec.autoscaling",
        "minReplicas: 0 needs engine: KEDA",
    ),
    "seconds in a cron": Invalid(
        spec(autoscaling={"maxReplicas": 4, "schedules": [{"cron": "0 0 8 * * MON"}]}),
        "spec.autoscaling.schedules[0].cron",
        "must be five fields as in cron",
    ),
    "a time zone of no place": Invalid(
        spec(autoscaling={"maxReplicas": 4, "schedules": [{"cron": "0 8 * * *", "timeZone": "Europe/Atlantis"}]}),
        "spec.autoscaling.schedules[0].timeZone",
        "must be a time zone of the IANA database",
    ),
    "a boolean in quotes": Invalid(spec(rollout={"paused": "yes"}), "spec.rollout.paused"),
    "a list for a block": Invalid(spec(serving=[]), "spec.serving"),
}

BAD_NAMES = ("3digits", "digits.v2", "d" * 46)
