"""The command line: `model-server serve`, and the commands beside it; their defaults and exit codes.

Exit codes: 0 done, 1 it could not be done (one sentence on stderr and in the termination message), 2 a wrong command
line. torch is imported by those commands alone that compute.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import os
import signal
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from model_server import __version__, report
from model_server.cgroup import compute_in_one_thread
from model_server.commands import convert, optimize, package, push, size, train
from model_server.commands.arguments import duration, positive, tell_progress
from model_server.errors import ModelError, Reason
from model_server.limits import Limits
from model_server.metrics import MAX_BUCKETS, SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_server.evaluate import Endpoint, Loaded

METHODS = ("IntegratedGradients", "Saliency", "FeatureAblation", "KernelShap")  # protocol.explain imports numpy
_GIBIBYTE = 1024**3
_DRAIN_TIMEOUT_SECONDS = 20.0


class _Parser(argparse.ArgumentParser):
    """Raises its errors: a wrong `spec.runtime.args` should be told in the termination message too."""

    def error(self, message: str) -> NoReturn:
        raise ModelError(Reason.INVALID, f"{self.prog}: {message}; see {self.prog} --help.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    try:
        options = _parser().parse_args(arguments)
    except ModelError as error:
        return _fail(error, report.default_path(), 2)
    try:
        return int(options.run(options))
    except ModelError as error:
        return _fail(error, getattr(options, "report", None), 1)


def _fail(error: ModelError, path: Path | None, code: int) -> int:
    print(error.message, file=sys.stderr)
    report.write(path, report.failure(error))
    return code


def _serve(options: argparse.Namespace) -> int:
    if (options.tls_cert is None) != (options.tls_key is None):
        raise ModelError(Reason.INVALID, "--tls-cert and --tls-key belong together; give both, or neither.")
    compute_in_one_thread()  # before anything imports numpy
    from model_server.artefact.card import Trust  # noqa: PLC0415
    from model_server.precision import Precision  # noqa: PLC0415
    from model_server.protocol.explain import Method  # noqa: PLC0415
    from model_server.serve import Options, serve  # noqa: PLC0415  # other commands start without a web server

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    serve(
        Options(
            directory=options.directory,
            name=options.name or options.directory.resolve().name,
            host=options.host,
            port=options.port,
            metrics_port=options.metrics_port,
            http=options.http,
            processes=options.processes,
            digest_file=options.digest_file,
            trust=Trust(options.trust),
            precision=Precision(options.precision),
            explain=[method for method in Method if method in options.explain],
            tokens_dir=options.tokens_dir,
            tls_cert=options.tls_cert,
            tls_key=options.tls_key,
            limits=Limits(
                max_batch_size=options.max_batch_size,
                max_batch_delay_seconds=options.max_batch_delay,
                max_queue=options.max_queue,
                request_timeout_seconds=options.request_timeout,
                max_explain_queue=options.max_explain_queue,
                explain_timeout_seconds=options.explain_timeout,
                max_body_bytes=options.max_body_bytes,
                max_connection_age_seconds=options.max_connection_age,
            ),
            drain_delay_seconds=options.drain_delay,
            drain_timeout_seconds=_drain_timeout(options),
            latency_buckets=options.latency_buckets,
        )
    )
    return 0


def _drain_timeout(options: argparse.Namespace) -> float:
    """What still may be answered in time is not to be cut off."""
    given: float | None = options.drain_timeout
    return max(_DRAIN_TIMEOUT_SECONDS, options.request_timeout) if given is None else given


def _fetch(options: argparse.Namespace) -> int:
    from model_server.artefact.digest import parse_digest  # noqa: PLC0415  # each command imports its own
    from model_server.artefact.signature import keys_in_files  # noqa: PLC0415
    from model_server.fetch import Options, fetch, parse_uri  # noqa: PLC0415

    tell_progress()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that nothing half-fetched is left
    given = os.environ.get("MODEL_TRUSTED_KEYS")
    with keys_in_files(given) if given else contextlib.nullcontext(options.trusted_keys) as trusted_keys:
        content = fetch(
            parse_uri(options.uri),
            Options(
                directory=options.directory,
                pin=parse_digest(options.digest) if options.digest else None,
                ca_file=options.ca_file,
                source_mount=options.source_mount,
                max_bytes=options.max_bytes,
                cache=options.cache,
                trusted_keys=trusted_keys,
                plain_http=options.plain_http,
            ),
        )
    facts = {"digest": content.digest, "files": content.files, "bytes": content.size_bytes}
    report.write(options.report, facts)
    print(json.dumps(facts))
    return 0


def _inspect(options: argparse.Namespace) -> int:
    from model_server.describe import as_json, as_text, describe  # noqa: PLC0415

    told = describe(options.directory, options.trusted_keys)
    print(json.dumps(as_json(told)) if options.json else as_text(told))
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    compute_in_one_thread()  # before anything imports numpy
    from model_server.artefact.digest import parse_digest  # noqa: PLC0415
    from model_server.evaluate import Options, evaluate, parse_metrics  # noqa: PLC0415

    tell_progress()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that nothing half-fetched is left
    facts = evaluate(
        Options(
            uri=options.uri,
            digest=parse_digest(options.digest) if options.digest else None,
            model=_judged(options),
            metrics=parse_metrics(options.metrics),
            output=options.output_name,
            batch=options.batch,
            timeout_seconds=options.timeout,
            dataset_ca_file=options.dataset_ca_file,
            source_mount=options.source_mount,
            max_bytes=options.max_bytes,
            plain_http=options.plain_http,
            confidence=options.confidence,
            slices=tuple(options.slice.split(",")) if options.slice else (),
            report_dir=options.report_dir,
        )
    )
    report.write(options.report, facts)
    print(json.dumps(facts))
    return 0


def _judged(options: argparse.Namespace) -> Endpoint | Loaded:
    """Return the model: at an endpoint, or in a directory, which is loaded as the server loads it."""
    from model_server.evaluate import Endpoint, Loaded  # noqa: PLC0415

    if options.directory is None:
        if not (options.url and options.model):
            raise ModelError(Reason.INVALID, "Give --url and --model of a server, or a model directory (--directory).")
        return Endpoint(
            url=options.url,
            model=options.model,
            tokens_dir=options.tokens_dir,
            ca_file=options.ca_file,
            server_name=options.server_name,
            server_cert=options.server_cert,
            request_timeout_seconds=options.request_timeout,
        )
    if options.url:
        raise ModelError(Reason.INVALID, "--directory and --url are two ways to ask a model; give one of them.")
    from model_server.artefact.card import Trust  # noqa: PLC0415
    from model_server.model import load  # noqa: PLC0415  # torch
    from model_server.precision import Precision  # noqa: PLC0415

    model = load(options.directory, trust=Trust(options.trust), precision=Precision(options.precision))
    return Loaded(options.model or options.directory.resolve().name, model.signature, model.forward)


def _parser() -> _Parser:
    parser = _Parser(prog="model-server", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_serve(commands.add_parser("serve", help="serve a model directory over HTTP", formatter_class=_Defaults))
    _add_fetch(commands.add_parser("fetch", help="bring a model from a URI", formatter_class=_Defaults))
    _add_inspect(commands.add_parser("inspect", help="tell what a model directory holds", formatter_class=_Defaults))
    train.add_arguments(
        commands.add_parser("train", help="make a model directory from a table", formatter_class=_Defaults)
    )
    convert.add_arguments(
        commands.add_parser(
            "convert", help="make a model directory of a sentence encoder from elsewhere", formatter_class=_Defaults
        )
    )
    optimize.add_arguments(
        commands.add_parser("optimize", help="make a model smaller or faster", formatter_class=_Defaults)
    )
    package.add_arguments(
        commands.add_parser("package", help="describe, prove and sign a model directory", formatter_class=_Defaults)
    )
    push.add_arguments(
        commands.add_parser("push", help="bring a model to where fetch finds it", formatter_class=_Defaults)
    )
    _add_evaluate(commands.add_parser("evaluate", help="judge a model by a data set", formatter_class=_Defaults))
    size.add_arguments(
        commands.add_parser("size", help="tell what a model needs of a machine", formatter_class=_Defaults)
    )
    return parser


_Defaults = argparse.ArgumentDefaultsHelpFormatter


def _add_serve(parser: argparse.ArgumentParser) -> None:
    limits = Limits()
    parser.set_defaults(run=_serve)
    add = parser.add_argument
    add("directory", type=Path, help="the model directory")
    add("--name", default="", help="the model's name in the protocol (the directory's name when empty)")
    add("--host", default="", help="the address to listen on (all when empty)")
    add("--port", type=int, default=8080, help="the port for requests; 0 lets the system choose")
    add("--metrics-port", type=int, default=9090, help="the port for probes and /metrics; 0 lets the system choose")
    add("--http", choices=["fast", "asgi"], default="fast", help="inference past ASGI, or all through it")
    add("--processes", type=positive, help="processes that serve (one per CPU of the cgroup's limit when absent)")
    add("--digest-file", type=Path, help="refuse to serve unless the directory has the digest in this file")
    _add_loading(parser)
    add("--explain", type=_methods, default="", metavar="METHOD[,METHOD...]", help=f"explain by {', '.join(METHODS)}")
    add("--tokens-dir", type=Path, help="ask for one of the bearer tokens in the files here; read again on change")
    add("--tls-cert", type=Path, help="speak TLS with this certificate (PEM, with its chain); read again on change")
    add("--tls-key", type=Path, help="the certificate's key (PEM, not encrypted)")
    add("--max-batch-size", type=positive, default=limits.max_batch_size, help="rows in one forward pass")
    add("--max-batch-delay", type=duration, default="0ms", help="wait this long for a batch to fill")
    add("--max-queue", type=positive, default=limits.max_queue, help="requests that may wait; above: 429")
    add("--request-timeout", type=duration, default="10s", help="answer or give up (504) within this time")
    add("--max-explain-queue", type=positive, default=limits.max_explain_queue, help="explanations that may wait")
    add("--explain-timeout", type=duration, default="15s", help="explain or give up (504) within this time")
    add("--max-body-bytes", type=positive, default=limits.max_body_bytes, help="the largest request body")
    add("--max-connection-age", type=duration, default="1m", help="then an answer closes the connection; 0s: never")
    add(
        "--latency-buckets",
        type=_buckets,
        default=",".join(map(str, SECONDS)),
        metavar="SECONDS[,SECONDS...]",
        help="the bounds of the duration histograms",
    )
    add("--drain-delay", type=duration, default="5s", help="serve on for this long after SIGTERM")
    add(
        "--drain-timeout",
        type=duration,
        help="then wait this long for what is in flight; unless given, as long as a request may take, at least 20s",
    )
    _add_report(parser)


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_fetch)
    add = parser.add_argument
    _add_source(parser)
    add("directory", type=Path, help="receives current/ and digest")
    add("--digest", default=os.environ.get("MODEL_DIGEST", ""), help="refuse any other content (env MODEL_DIGEST)")
    add("--ca-file", type=Path, help="trust only these certificate authorities (PEM)")
    _add_trusted_keys(parser)
    add("--cache", type=Path, help="keep downloads in this directory, for all who share it")
    add("--max-bytes", type=positive, default=64 * _GIBIBYTE, help="refuse larger downloads and contents")
    _add_report(parser)


def _add_loading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust",
        choices=["Data", "Native"],
        default="Data",
        help="what the model may do: be read, or run code of its own",
    )
    parser.add_argument(
        "--precision",
        choices=["Auto", "Float32", "BFloat16"],
        default="Auto",
        help="the numbers that the model computes in; Auto: what holds the golden outputs and is fastest here",
    )


def _add_trusted_keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trusted-keys",
        type=Path,
        help="refuse what is not signed with a private key of the public ones (PEM) in this directory; fetch prefers "
        "those in MODEL_TRUSTED_KEYS, a JSON object of them by name",
    )


def _add_source(parser: argparse.ArgumentParser) -> None:
    schemes = "file:///path, pvc://claim/path, https://host/path, s3://bucket/path, hf://org/repo[@revision]"
    parser.add_argument("uri", help=f"{schemes} or oci://registry/repository[:tag|@digest]")
    push.add_plain_http(parser)
    parser.add_argument(
        "--source-mount", type=Path, default=Path("/mnt/source"), help="where a pvc:// claim is mounted"
    )


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_inspect)
    parser.add_argument("directory", type=Path, help="the model directory")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    _add_trusted_keys(parser)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_evaluate)
    add = parser.add_argument
    _add_source(parser)
    add("--digest", default="", help="refuse a data set with another SHA-256")
    add("--dataset-ca-file", type=Path, help="fetch it from servers of these certificate authorities alone (PEM)")
    add("--max-bytes", type=positive, default=_GIBIBYTE, help="refuse larger downloads and contents")
    add("--directory", type=Path, help="judge this model directory, loaded here, in place of a server")
    _add_loading(parser)
    add("--url", default="", help="http://HOST:PORT or https://HOST:PORT of the server")
    add("--model", default="", help="the model's name in the protocol")
    add("--metrics", default="", metavar="NAME[,NAME...]", help="what to measure (what fits, when empty)")
    add("--output-name", default="", help="the output that is compared (the first when empty)")
    add("--confidence", type=_share, default=0.0, help="tell intervals that hold at this confidence, such as 95%%")
    add(
        "--slice",
        default="",
        metavar="ARRAY[:COLUMN][,...]",
        help="judge the rows of each value here by themselves, too",
    )
    add("--report-dir", type=Path, help="write report.md and its pictures here")
    add("--batch", type=positive, default=64, help="rows in one request, or as many as the server takes")
    add("--tokens-dir", type=Path, help="show the first bearer token in the files here")
    add("--ca-file", type=Path, help="trust a server that these certificates vouch for (PEM)")
    add("--server-name", default="", help="the name that its certificate must have (the host when empty)")
    add("--server-cert", type=Path, help="trust the server with this certificate (PEM) alone, whatever its name")
    add("--request-timeout", type=duration, default="30s", help="give up when a request is not answered by then")
    add("--timeout", type=duration, default="10m", help="give up when not done by then")
    _add_report(parser, "--output")


def _add_report(parser: argparse.ArgumentParser, *names: str) -> None:
    parser.add_argument(
        "--report", *names, type=Path, default=report.default_path(), help="the file for the last words"
    )


def _buckets(text: str) -> tuple[float, ...]:
    bounds = tuple(float(part) for part in text.split(","))
    if not (bounds[0] > 0 and all(low < high < math.inf for low, high in pairwise((*bounds, bounds[-1] + 1)))):
        message = f"{text!r} does not rise from above 0"
        raise argparse.ArgumentTypeError(message)
    if len(bounds) > MAX_BUCKETS:
        message = f"{len(bounds)} bounds are more than the {MAX_BUCKETS} that a histogram may have"
        raise argparse.ArgumentTypeError(message)
    return bounds


def _share(text: str) -> float:
    share = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    if not 0 <= share < 1:
        message = f"{text!r} is not a share below 100%, such as 95%"
        raise argparse.ArgumentTypeError(message)
    return share


def _methods(text: str) -> list[str]:
    names = text.split(",") if text else []
    for name in names:
        if name not in METHODS:
            message = f"{name!r} is not a way to explain; it is one of {', '.join(METHODS)}"
            raise argparse.ArgumentTypeError(message)
    return names
