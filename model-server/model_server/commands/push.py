"""`model-server push`: its flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from model_server.commands.arguments import is_set, tell_progress

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> int:
    """Bring the model there, print what to serve."""
    from model_server.push import Options, push  # noqa: PLC0415  # each command imports its own

    tell_progress()
    told = push(
        options.directory,
        options.uri,
        Options(
            force=options.force,
            ca_file=options.ca_file,
            source_mount=options.source_mount,
            plain_http=options.plain_http,
            tokens_dir=options.tokens_dir,
        ),
    )
    print(json.dumps(told))
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say where to, and how."""
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("directory", type=Path, help="the model directory")
    targets = "s3://bucket/path, oci://registry/repository:tag, https://host/path.tar.gz (PUT), pvc://claim/path"
    add("uri", help=f"{targets} or file:///path")
    add("--force", action="store_true", help="overwrite another model that is there")
    add("--source-mount", type=Path, default=Path("/mnt/source"), help="where a pvc:// claim is mounted")
    add("--ca-file", type=Path, help="trust only these certificate authorities (PEM)")
    add("--tokens-dir", type=Path, help="show an https server the first bearer token in the files here")
    add_plain_http(parser)


def add_plain_http(parser: argparse.ArgumentParser) -> None:
    """Say that a registry speaks no TLS."""
    parser.add_argument(
        "--plain-http",
        action="store_true",
        default=is_set("OCI_PLAIN_HTTP"),
        help="ask the registry of an oci:// URI without TLS (env OCI_PLAIN_HTTP=true)",
    )
