"""Who we are and where the API server is: the official client's loader, asked for what one HTTP session needs."""

from __future__ import annotations

import math
import os
import ssl
import time
from dataclasses import dataclass, field
from typing import Self

from kubernetes import config
from kubernetes.client import Configuration

_IN_CLUSTER = "KUBERNETES_SERVICE_HOST"
_TOKEN_SECONDS = 5.0  # asking the loader each time costs a third of a request; it renews tokens early


class NoCredentialsError(Exception):
    """There is neither a service account nor a usable kubeconfig."""


@dataclass(slots=True, eq=False)
class Credentials:
    """One loaded configuration. Its loader is asked for the token now and then: it reads tokens anew as they age."""

    configuration: Configuration
    _authorization: str | None = field(default=None, init=False)
    _asked: float = field(default=-math.inf, init=False)

    @classmethod
    def load(cls, kubeconfig: str | None = None) -> Self:
        """Load the kubeconfig given, or that of `$KUBECONFIG`; else the pod's account; else the default kubeconfig.

        May run an exec plugin of the kubeconfig, so call it in a thread where the loop must not wait.
        """
        configuration = Configuration()
        try:
            kubeconfig = kubeconfig or os.environ.get("KUBECONFIG")
            if _IN_CLUSTER in os.environ and not kubeconfig:
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                config.load_kube_config(kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
        except config.ConfigException as error:
            raise NoCredentialsError(
                f"No way to the Kubernetes API was found ({error}). Run in a pod with a service account, "
                "or set KUBECONFIG to a kubeconfig file whose current context works with kubectl."
            ) from error
        return cls(configuration)

    @property
    def server(self) -> str:
        """The address of the API server, without a slash at the end."""
        return str(self.configuration.host).rstrip("/")

    @property
    def server_name(self) -> str | None:
        """The name to check the server's certificate against, where it is not the address."""
        return self.configuration.tls_server_name or None

    @property
    def proxy(self) -> str | None:
        """The HTTP proxy to go through."""
        return self.configuration.proxy or None

    def authorization(self) -> str | None:
        """Give the value of the Authorization header; None where a client certificate speaks for us."""
        now = time.monotonic()
        if now - self._asked >= _TOKEN_SECONDS:
            value = self.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
            self._authorization, self._asked = value or None, now
        return self._authorization

    def tls(self) -> ssl.SSLContext:
        """Build the TLS side: the server's authority, and our certificate if we have one."""
        context = ssl.create_default_context(cafile=self.configuration.ssl_ca_cert)
        if not self.configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.configuration.cert_file:
            context.load_cert_chain(self.configuration.cert_file, self.configuration.key_file)
        return context
