"""The programs of a cluster: the version we pin, how it is built, and which foreign versions are as good."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Version = tuple[int, int, int]

KUBERNETES = "v1.35.4"
ETCD = "v3.7.3"
COREDNS = "v1.14.7"
HELM = "v3.22.0"
HELM_4 = "v4.3.1"
KEDA = "v2.21.0"
KIND = "v0.33.0"
KWOK = "v0.8.0"
KUBE_SCORE = "v1.20.0"
KSTATUS = "v1.2.3"  # of github.com/fluxcd/cli-utils: the library as Flux and Helm 4 have it
GOPHER_LUA = "v1.1.2"  # the engine of Argo CD
ALERTMANAGER = "v0.28.1"
PROMETHEUS = "v0.307.3"  # of the Go module; the release calls itself 3.7.3
PROMETHEUS_OPERATOR = "v0.93.1"
REGISTRY = "v3.0.0"  # of github.com/distribution/distribution
VEGETA = "v12.13.0"
VERSITYGW = "v1.8.0"

MODULES = Path(__file__).parent / "modules"


def version_in(text: str) -> Version | None:
    """Find the first version number in what a program says about itself."""
    found = re.search(r"\bv?(\d+)\.(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def _never(_: Version) -> bool:
    return False


@dataclass(frozen=True)
class Tool:
    """One program: where its source is pinned, and how to recognise one that somebody else installed."""

    name: str
    version: str
    module: str  # the folder under modules/
    package: str = "."  # "." is a program of our own
    asks: tuple[str, ...] = ()  # the arguments that make it tell its version
    suits: Callable[[Version], bool] = _never  # may a foreign one of this version be used?
    stamps: Mapping[str, str] = field(default_factory=dict)  # variables that releases set by the linker

    @property
    def source(self) -> Path:
        """The folder with its go.mod."""
        return MODULES / self.module

    @property
    def is_ours(self) -> bool:
        """Whether main.go is in this repository."""
        return self.package == "."


# Without these stamps the API server calls itself v0.0.0, which charts with a kubeVersion then refuse.
_KUBERNETES_STAMPS = {
    f"{package}.{name}": value
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for name, value in (("gitVersion", KUBERNETES), ("gitMajor", "1"), ("gitMinor", "35"))
}


def _same_minor(version: Version) -> bool:
    return version[:2] == (1, 35)


def _kubernetes(name: str) -> Tool:
    return Tool(
        name,
        KUBERNETES,
        module="kubernetes",
        package=f"k8s.io/kubernetes/cmd/{name}",
        asks=("--version",),
        suits=_same_minor,
        stamps=_KUBERNETES_STAMPS,
    )


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(
            "etcd",
            ETCD,
            module="etcd",
            package="go.etcd.io/etcd/server/v3",
            asks=("--version",),
            # Distributions still carry 3.4, which lacks the watch progress that Kubernetes 1.35 asks for.
            suits=lambda version: (3, 5, 13) <= version < (4, 0, 0),
        ),
        _kubernetes("kube-apiserver"),
        Tool(
            "kubectl",
            KUBERNETES,
            module="kubernetes",
            package="k8s.io/kubernetes/cmd/kubectl",
            asks=("version", "--client"),
            suits=lambda version: (1, 34, 0) <= version < (1, 37, 0),  # the skew that Kubernetes supports
            stamps=_KUBERNETES_STAMPS,
        ),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kube-scheduler"),
        Tool("kstatus", KSTATUS, module="kstatus"),
        Tool("argo-health", GOPHER_LUA, module="argo-health"),
        Tool(
            "helm",
            HELM,
            module="helm",
            package="helm.sh/helm/v3/cmd/helm",
            asks=("version", "--short"),
            suits=lambda version: (3, 18, 0) <= version < (4, 0, 0),
            stamps={
                "helm.sh/helm/v3/internal/version.version": HELM,
                # What `helm template` believes the cluster to be; the release says what its client-go is.
                "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor": "37",
                "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor": "37",
            },
        ),
        Tool(
            "helm4",
            HELM_4,
            module="helm4",
            package="helm.sh/helm/v4/cmd/helm",
            stamps={"helm.sh/helm/v4/internal/version.version": HELM_4},
        ),
        Tool(
            "kube-score",
            KUBE_SCORE,
            module="kube-score",
            package="github.com/zegl/kube-score/cmd/kube-score",
            asks=("version",),
            suits=lambda version: (1, 20, 0) <= version < (2, 0, 0),
            stamps={"main.version": KUBE_SCORE},
        ),
        Tool(
            "kwok",
            KWOK,
            module="kwok",
            package="sigs.k8s.io/kwok/cmd/kwok",
            asks=("--version",),
            suits=lambda version: (0, 8, 0) <= version < (1, 0, 0),
        ),
        _kubernetes("kubelet"),
        _kubernetes("kube-proxy"),
        _kubernetes("kubeadm"),
        Tool("pause", "v1", module="pause"),
        Tool("coredns", COREDNS, module="coredns"),
        Tool(
            "prometheus",
            PROMETHEUS,
            module="prometheus",
            package="github.com/prometheus/prometheus/cmd/prometheus",
            asks=("--version",),
            suits=lambda version: (3, 0, 0) <= version < (4, 0, 0),
            stamps={"github.com/prometheus/common/version.Version": "3.7.3"},
        ),
        Tool(
            "kind",
            KIND,
            module="kind",
            package="sigs.k8s.io/kind",
            asks=("version",),
            suits=lambda version: version[:2] == (0, 33),  # the one whose files our node image holds
        ),
        Tool(
            "promtool",
            PROMETHEUS,
            module="prometheus",
            package="github.com/prometheus/prometheus/cmd/promtool",
            asks=("--version",),
            suits=lambda version: (3, 0, 0) <= version < (4, 0, 0),
            stamps={"github.com/prometheus/common/version.Version": "3.7.3"},
        ),
        Tool(
            "amtool",
            ALERTMANAGER,
            module="alertmanager",
            package="github.com/prometheus/alertmanager/cmd/amtool",
            asks=("--version",),
            suits=lambda version: (0, 25, 0) <= version < (1, 0, 0),
            stamps={"github.com/prometheus/common/version.Version": ALERTMANAGER.removeprefix("v")},
        ),
        Tool(
            "alertmanager",
            ALERTMANAGER,
            module="alertmanager",
            package="github.com/prometheus/alertmanager/cmd/alertmanager",
            asks=("--version",),
            suits=lambda version: (0, 28, 0) <= version < (1, 0, 0),
            stamps={"github.com/prometheus/common/version.Version": ALERTMANAGER.removeprefix("v")},
        ),
        Tool(
            "prometheus-operator",
            PROMETHEUS_OPERATOR,
            module="prometheus-operator",
            package="github.com/prometheus-operator/prometheus-operator/cmd/operator",
            asks=("--version",),
            suits=lambda version: (0, 85, 0) <= version < (1, 0, 0),
            stamps={"github.com/prometheus/common/version.Version": PROMETHEUS_OPERATOR.removeprefix("v")},
        ),
        Tool("keda", KEDA, module="keda", package="github.com/kedacore/keda/v2/cmd/operator"),
        Tool("keda-adapter", KEDA, module="keda", package="github.com/kedacore/keda/v2/cmd/adapter"),
        Tool("registry", REGISTRY, module="registry"),
        Tool(
            "vegeta",
            VEGETA,
            module="vegeta",
            package="github.com/tsenart/vegeta/v12",
            asks=("--version",),
            suits=lambda version: (12, 8, 0) <= version < (13, 0, 0),
            stamps={"main.Version": VEGETA},
        ),
        Tool(  # an S3 server on a folder
            "versitygw",
            VERSITYGW,
            module="versitygw",
            package="github.com/versity/versitygw/cmd/versitygw",
            asks=("--version",),
            suits=lambda version: (1, 0, 0) <= version < (2, 0, 0),
            stamps={"main.Version": VERSITYGW.removeprefix("v")},
        ),
    )
}

# Definitions of other people's APIs, which come with the source of who serves them: the folder under modules/ that pins
# it, its Go module, the file in that.
DEFINITIONS: dict[str, tuple[str, str, str]] = {
    "monitoring.coreos.com": (
        "prometheus-operator",
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd/monitoring.coreos.com_{plural}.yaml",
    ),
    "keda.sh": ("keda", "github.com/kedacore/keda/v2", "config/crd/bases/keda.sh_{plural}.yaml"),
    "argoproj.io": ("gitops", "github.com/argoproj/argo-cd/v3", "manifests/crds/{singular}-crd.yaml"),
    **{
        f"{api}.toolkit.fluxcd.io": (
            "gitops",
            f"github.com/fluxcd/{api}-controller",
            f"config/crd/bases/{api}.toolkit.fluxcd.io_{{plural}}.yaml",
        )
        for api in ("helm", "kustomize", "source")
    },
}

FOR_CONTROLPLANE = ("etcd", "kube-apiserver", "kubectl")
FOR_CONTROLLERS = ("kube-controller-manager", "kube-scheduler")
FOR_NODE = (*FOR_CONTROLPLANE, *FOR_CONTROLLERS, "kubelet", "kube-proxy", "pause", "coredns")
FOR_KIND = ("kind", "kubectl")
FOR_KIND_IMAGE = (*FOR_NODE, "kubeadm")
