"""Real models are judged by real requests: what a figure is, and what is said where there is none."""

from __future__ import annotations

import hashlib
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cluster import ports
from model_server import cli
from model_server.evaluate import endpoint, pace
from model_server.model import load
from model_server.train import Options, Table, synthetic_table, train
from mounted import mount_secret
from server.identity import Identity
from server.s3 import ACCESS_KEY, SECRET_KEY, open_store
from server.site import Site, gives
from server.support import Server, echo_directory, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAUSE_SECONDS = 0.01
TOKEN = "right-token"  # noqa: S105  # of no one


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take as few samples as there may be, and lose no time between attempts."""
    monkeypatch.setattr(endpoint, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(pace, "ALONE_SECONDS", 0.0)
    monkeypatch.setattr(pace, "LEVEL_SECONDS", 0.2)
    monkeypatch.setattr(pace, "LEVEL_REQUESTS", 20)


@dataclass
class Judge:
    """`model-server evaluate`, with a report of its own."""

    report: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, dataset: Path | str, server: Server | str, *flags: str) -> dict[str, Any]:
        """Expect figures, in the report as on the standard output."""
        code, told, out, err = self.run(dataset, server, *flags)
        assert code == 0, err
        assert json.loads(out) == told
        assert len(self.report.read_bytes()) < 4096
        asked = {flag.partition("=")[0] for flag in flags}
        more = {"confidence", "intervals"} if "--confidence" in asked else set()
        more |= {"slices"} if "--slice" in asked else set()
        assert told.keys() == {"digest", "rows", "failed", "metrics"} | more
        assert told["failed"] == 0
        return told

    def refusal(self, dataset: Path | str, server: Server | str, *flags: str) -> tuple[str, str]:
        """Expect one sentence, and no figure."""
        code, told, out, err = self.run(dataset, server, *flags)
        assert (code, out) == (1, "")
        assert told.keys() == {"reason", "message"}
        assert err.splitlines()[-1] == told["message"]
        return told["reason"], told["message"]

    def run(self, dataset: Path | str, server: Server | str, *flags: str) -> tuple[int, dict[str, Any], str, str]:
        uri = dataset if isinstance(dataset, str) else f"file://{dataset}"
        url = server if isinstance(server, str) else f"http{'s' * bool(server.tls)}://127.0.0.1:{server.port}"
        code = cli.main(["evaluate", uri, "--url", url, "--model", "m", "--output", str(self.report), *flags])
        out, err = self.capsys.readouterr()
        return code, json.loads(self.report.read_text()), out, err


@pytest.fixture
def judge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Judge:
    return Judge(tmp_path / "report", capsys)


def write(path: Path, **arrays: Any) -> Path:  # noqa: ANN401
    np.savez_compressed(path, **arrays)
    return path


def trained(table: Table, out: Path, **changes: object) -> Path:
    made = {"hidden": (32,), "activation": "relu", "loss": "CrossEntropy", "optimizer": "Adam", "learning_rate": 0.01}
    train(table, Options(**{**made, "epochs": 15, "batch_size": 64, "seed": 0, **changes}), out)  # type: ignore[arg-type]
    return out


# -- what a model is worth


@dataclass(frozen=True)
class Digits:
    """Handwritten digits: what a model learns from, and what it is judged by."""

    seen: Table
    held_out: Path

    def right(self, directory: Path) -> float:
        """Return how many of them a model tells, asked without a server."""
        with np.load(self.held_out) as arrays:
            (scores,) = load(directory).forward((arrays["x"].reshape(-1, 64).astype("<f4"),))
            return float((scores.argmax(axis=1) == arrays["y"]).mean())


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    """The rows to judge by are images, in the datatype that they were made in; the model takes FP32 in a row."""
    images, labels = load_digits(return_X_y=True)
    path = write(tmp_path_factory.mktemp("digits") / "held-out.npz", x=images[::5].reshape(-1, 8, 8), y=labels[::5])
    rest = np.arange(len(images)) % 5 > 0
    return Digits(Table(images[rest].astype(np.float32), labels[rest].astype(np.int64)), path)


@pytest.fixture(scope="module")
def digits_server(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    directory = trained(digits.seen, tmp_path_factory.mktemp("models") / "digits")
    with running(directory) as server:
        yield server, directory


def test_a_good_model_gets_its_figures(judge: Judge, digits: Digits, digits_server: tuple[Server, Path]) -> None:
    server, directory = digits_server
    told = judge(digits.held_out, server)
    assert told["digest"] == "sha256:" + hashlib.sha256(digits.held_out.read_bytes()).hexdigest()
    assert told["rows"] == 360
    figures = {name: float(value) for name, value in told["metrics"].items()}
    assert figures["accuracy"] == pytest.approx(digits.right(directory), abs=1e-6)
    assert 0.9 < figures["accuracy"] == figures["f1_micro"]
    assert all(0.9 < figures[name] < 1 for name in ("precision", "recall", "f1"))
    assert 0 < figures["latency_p50"] <= figures["latency_p95"] <= figures["latency_p99"]
    assert figures.keys() == {
        *("accuracy", "precision", "recall", "f1", "f1_micro"),
        *("latency_p50", "latency_p95", "latency_p99"),
    }
    assert set("".join(told["metrics"].values())) <= set("0123456789."), "no exponents"


def test_a_model_directory_is_judged_without_a_server_and_gets_the_same_figures(
    judge: Judge, digits: Digits, digits_server: tuple[Server, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    server, directory = digits_server
    flags = ("--metrics", "accuracy,f1,precision,recall", "--confidence", "95%")
    served = judge(digits.held_out, server, *flags)
    assert cli.main(["evaluate", f"file://{digits.held_out}", "--directory", str(directory), *flags]) == 0
    assert json.loads(capsys.readouterr().out) == served
    timed = ["evaluate", f"file://{digits.held_out}", f"--directory={directory}", "--metrics=accuracy,latency_p95"]
    assert cli.main(timed) == 0
    assert float(json.loads(capsys.readouterr().out)["metrics"]["latency_p95"]) > 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--metrics=throughput"], "is measured at its server; give --url and --model"),
        (["--output-name=z"], "has no output 'z'; it has 'y'"),
        (["--url=http://127.0.0.1:1", "--model=m"], "--directory and --url are two ways to ask a model"),
    ],
)
def test_what_needs_a_server_is_told_without_one(
    flags: list[str],
    said: str,
    digits: Digits,
    digits_server: tuple[Server, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["evaluate", f"file://{digits.held_out}", f"--directory={digits_server[1]}"]
    assert cli.main([*command, *flags]) == 1
    assert said in capsys.readouterr().err
    assert cli.main(command[:2]) == 1
    assert "Give --url and --model of a server, or a model directory (--directory)." in capsys.readouterr().err


def test_only_what_is_asked_for_is_measured(
    judge: Judge, digits: Digits, digits_server: tuple[Server, Path], tmp_path: Path
) -> None:
    server, _ = digits_server
    before = server.samples()["batch_size_sum"]
    told = judge(digits.held_out, server, "--metrics", "f1_macro,accuracy")
    assert list(told["metrics"]) == ["f1_macro", "accuracy"]
    assert server.samples()["batch_size_sum"] - before == 360 + 64, "every row once, and once how many it takes at once"
    with np.load(digits.held_out) as arrays:
        unlabelled = write(tmp_path / "x.npz", x=arrays["x"][:100])
    assert list(judge(unlabelled, server, "--metrics", "latency_p95")["metrics"]) == ["latency_p95"]


def test_figures_come_with_intervals_slices_and_pictures(
    judge: Judge, digits: Digits, digits_server: tuple[Server, Path], tmp_path: Path
) -> None:
    server, _ = digits_server
    with np.load(digits.held_out) as arrays:
        halves = write(tmp_path / "d.npz", x=arrays["x"], y=arrays["y"], half=np.arange(360) < 180)
    flags = ["--metrics=accuracy,latency_p50", "--confidence=95%", "--slice=half,y", f"--report-dir={tmp_path}/pages"]
    told = judge(halves, server, *flags)
    for name, value in told["metrics"].items():
        low, high = map(float, told["intervals"][name])
        assert low <= float(value) <= high
    halves_told = [told["slices"][f"half = {half}"] for half in (True, False)]
    assert [part["rows"] for part in halves_told] == [180, 180]
    mean = sum(float(part["metrics"]["accuracy"]) for part in halves_told) / 2
    assert mean == pytest.approx(float(told["metrics"]["accuracy"]), abs=1e-5)
    assert sum(f"y = {digit}" in told["slices"] for digit in range(10)) == 10
    assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == [
        *("calibration.svg", "confusion.svg", "latency.svg", "report.md"),
    ]
    assert f"| accuracy | {told['metrics']['accuracy']} |" in (tmp_path / "pages/report.md").read_text()


def test_a_slice_by_what_is_not_there_is_told(judge: Judge, digits: Digits, digits_server: tuple[Server, Path]) -> None:
    code, _, _, err = judge.run(digits.held_out, digits_server[0], "--slice=age")
    assert code == 1
    assert "lacks the array 'age', which is asked for beside the inputs; it has ['x', 'y']" in err


def test_a_model_of_shuffled_labels_is_told_apart(judge: Judge, digits: Digits, tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(digits.seen.y)
    directory = trained(Table(digits.seen.x, shuffled), tmp_path / "m", epochs=5)
    with running(directory) as server:
        figures = judge(digits.held_out, server, "--metrics", "f1,accuracy")["metrics"]
    assert float(figures["accuracy"]) == pytest.approx(digits.right(directory), abs=1e-6)
    assert max(map(float, figures.values())) < 0.3


def test_a_regression_is_judged_by_its_errors(judge: Judge, tmp_path: Path) -> None:
    table = synthetic_table(6, 3, 300, seed=1)
    directory = trained(table, tmp_path / "m", loss="MeanSquaredError", epochs=20)
    (said,) = load(directory).forward((table.x,))
    off = said.astype(np.float64) - table.y
    with running(directory) as server:
        figures = judge(write(tmp_path / "d.npz", x=table.x, y=table.y), server, "--metrics", "mse,rmse,mae")["metrics"]
    assert float(figures["mse"]) == pytest.approx((off**2).mean(), rel=1e-4)
    assert float(figures["rmse"]) == pytest.approx(np.sqrt((off**2).mean(axis=0)).mean(), rel=1e-4)
    assert float(figures["mae"]) == pytest.approx(np.abs(off).mean(), rel=1e-4)


# -- how fast it is


@pytest.fixture(scope="module")
def column(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an echo is right about."""
    values = np.arange(1, 21, dtype=np.float32)
    return write(tmp_path_factory.mktemp("data") / "column.npz", x=values.reshape(-1, 1), y=values)


def test_a_slow_model_shows_in_its_latency(judge: Judge, column: Path, tmp_path: Path) -> None:
    with running(echo_directory(tmp_path / "m", pause_seconds=PAUSE_SECONDS)) as server:
        figures = judge(column, server)["metrics"]
    assert (figures["mse"], figures["rmse"], figures["mae"]) == ("0", "0", "0")
    assert float(figures["latency_p50"]) > PAUSE_SECONDS


def test_how_many_at_once_a_model_can_take_is_found(judge: Judge, column: Path, tmp_path: Path) -> None:
    """While four rows are computed four more wait: above eight nothing is won."""
    pause_seconds = 0.05  # a busy machine adds little to it
    with running(echo_directory(tmp_path / "m", pause_seconds=pause_seconds), "--max-batch-size", "4") as server:
        figures = judge(column, server, "--metrics", "saturation_concurrency,throughput")["metrics"]
    assert figures["saturation_concurrency"] in ("4", "8", "16", "32")
    assert 1 / pause_seconds < float(figures["throughput"]) <= 4 / pause_seconds


def test_a_server_that_turns_requests_away_was_saturated_before(judge: Judge, column: Path, tmp_path: Path) -> None:
    directory = echo_directory(tmp_path / "m", pause_seconds=PAUSE_SECONDS)
    with running(directory, "--max-batch-size", "1", "--max-queue", "1") as server:
        assert judge(column, server, "--metrics", "saturation_concurrency")["metrics"] == {
            "saturation_concurrency": "1"
        }
        assert server.samples()['requests_total{code="429"}'] > 0


def test_a_figure_that_would_be_the_evaluations_own_is_left_out(
    judge: Judge, column: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_OWN_CPU_SHARE", 0.0)
    with running(echo_directory(tmp_path / "m")) as server:
        assert judge(column, server, "--metrics", "saturation_concurrency,latency_p50")["metrics"].keys() == {
            "latency_p50"
        }


def test_a_server_gets_no_more_rows_at_once_than_it_takes(judge: Judge, column: Path, tmp_path: Path) -> None:
    with running(echo_directory(tmp_path / "m"), "--max-batch-size", "4") as server:
        assert judge(column, server, "--metrics", "mse")["metrics"] == {"mse": "0"}


# -- where the data set is, and who may ask


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(echo_directory(tmp_path_factory.mktemp("models") / "m", unlucky=-13)) as server:
        yield server


MSE = ("--metrics", "mse")


def test_a_claim_is_read_where_it_is_mounted(judge: Judge, echo: Server, column: Path) -> None:
    flags = ("--source-mount", str(column.parent), *MSE)
    assert judge("pvc://data/column.npz", echo, *flags)["rows"] == 20
    assert judge.refusal("pvc://data/other.npz", echo, *flags) == (
        "NotFound",
        "There is no file other.npz on the claim; the URI names a file.",
    )


def test_a_data_set_comes_over_https(judge: Judge, echo: Server, column: Path, site: Site) -> None:
    site.pages["/column.npz"] = gives(column.read_bytes())
    authority = ("--dataset-ca-file", str(site.ca_file))
    digest = "sha256:" + hashlib.sha256(column.read_bytes()).hexdigest()
    assert judge(site.url("/column.npz"), echo, "--digest", digest, *authority, *MSE)["digest"] == digest
    assert judge.refusal(site.url("/none.npz"), echo, *authority)[0] == "NotFound"
    assert "certificate that is not trusted" in judge.refusal(site.url("/column.npz"), echo)[1]


def test_a_data_set_comes_from_a_bucket(
    judge: Judge, echo: Server, column: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(tmp_path) as store:
        store.put("models", {"digits/held-out.npz": column.read_bytes(), "digits/model.json": b"{}"})
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        told = judge("s3://models/digits/held-out.npz", echo, *MSE)
        assert told["digest"] == "sha256:" + hashlib.sha256(column.read_bytes()).hexdigest()
        _, said = judge.refusal("s3://models/digits", echo)
        assert said == "s3://models/digits is a directory of 2 files; the URI names one file."
        assert judge.refusal("s3://models/digits/none.npz", echo)[0] == "NotFound"


def test_a_server_that_knows_tokens_is_shown_one(judge: Judge, column: Path, tmp_path: Path) -> None:
    secret = mount_secret(tmp_path / "tokens", {"a": f"{TOKEN}\n", "b": "other"})
    others = mount_secret(tmp_path / "others", {"a": "wrong"})
    with running(echo_directory(tmp_path / "m"), "--tokens-dir", str(secret)) as server:
        judge(column, server, "--tokens-dir", str(secret), *MSE)
        for flags in ((), ("--tokens-dir", str(others))):
            reason, said = judge.refusal(column, server, *flags)
            assert reason == "Refused"
            assert said.endswith("answers 401: give a bearer token that it knows (--tokens-dir).")
        assert judge.refusal(column, server, "--tokens-dir", str(tmp_path / "none"))[0] == "ConfigMissing"


def test_a_server_over_tls_must_be_the_one_that_is_meant(judge: Judge, column: Path, tmp_path: Path) -> None:
    identity, stranger = Identity(tmp_path / "identity", "site"), Identity(tmp_path / "stranger", "site")
    own, others = (str(each.secret / "tls.crt") for each in (identity, stranger))
    authority = str(tmp_path / "identity/pki/ca.crt")
    with running(echo_directory(tmp_path / "m"), *identity.flags) as server:
        server.tls = identity.trust
        for trusted in (("--ca-file", authority), ("--ca-file", own), ("--server-cert", own)):
            judge(column, server, *trusted, *MSE)
        by_name = f"https://localhost:{server.port}"
        judge(column, by_name, "--ca-file", authority, "--server-name", "127.0.0.1", *MSE)
        judge(column, by_name, "--server-cert", own, *MSE)
        for url, flags in (
            (server, ()),
            (server, ("--ca-file", others)),
            (server, ("--server-cert", others)),
            (by_name, ("--ca-file", authority)),
            (server, ("--ca-file", authority, "--server-name", "other.example")),
        ):
            reason, said = judge.refusal(column, url, *flags)
            assert reason == "Unreachable"
            assert "shows a certificate that is not trusted" in said
        for flag in ("--ca-file", "--server-cert"):
            assert "cannot be read as PEM" in judge.refusal(column, server, flag, str(column))[1]


# -- what is no verdict


RIGHT = {"x": [[1.0]], "y": [1.0]}


@pytest.mark.parametrize(
    ("arrays", "flags", "reason", "said"),
    [
        (RIGHT, ("--digest", "sha256:" + "1" * 64), "DigestMismatch", "is asked for; nothing was"),
        (RIGHT, ("--model", "other"), "NotFound", "answers 404 to GET /v2/models/other: There is"),
        (RIGHT, ("--output-name", "z"), "Invalid", "has no output 'z'; it has 'y'"),
        (RIGHT, ("--metrics", "f1"), "Invalid", "has 'y' of float64[1]; classes are integers"),
        (RIGHT, ("--metrics", "f1,mse"), "Invalid", "a model is judged by one of the two"),
        (RIGHT, ("--metrics", "auc"), "Invalid", "'auc' is not a metric; it is one of accuracy,"),
        (RIGHT, ("--url", "127.0.0.1:80"), "Invalid", "write http://HOST:PORT"),
        (RIGHT, ("--url", "http://127.0.0.1:x"), "Invalid", "write http://HOST:PORT"),
        (
            {"x": [[1.0, 2.0]], "y": [1.0]},
            (),
            "Invalid",
            "has 'x' of the shape [1, 2]; the model's input 'x' takes [-1, 1]",
        ),
        ({"x": [[1.0]], "y": [[1.0, 2.0]]}, (), "Invalid", "has the shape [1, 1], but y has [1, 2]"),
        (
            {"x": [[1.0]], "y": [[1, 2]]},
            (),
            "Invalid",
            "has 'y' of int64[1, 2]; classes are integers, one for each row",
        ),
        ({"x": [[0.5]], "y": [2]}, (), "Invalid", "tells class 1 from 0 only"),
        ({"x": [[1.0]]}, (), "Invalid", "lacks the array 'y'; write it, or ask for times alone"),
        ({"y": [1.0]}, (), "Invalid", "lacks the array 'x'"),
        ({"x": [["1"]], "y": [1.0]}, (), "Invalid", "it may hold numbers and booleans only"),
        ({"x": [[1.0]], "y": [np.inf]}, (), "Invalid", "has values in 'y' that are no numbers"),
        ({"x": [[1.0], [np.nan]], "y": [1, 1]}, (), "Invalid", "1 of 2 rows with NaN in 'y', the first is row 1"),
        ({"x": [[np.inf]], "y": [1.0]}, (), "Invalid", "mse is inf: the model's answers or 'y' are too large"),
        ({"x": [[-13.0]], "y": [1.0]}, (), "Invalid", "answers 500 to an inference: The model failed on this request"),
        (RIGHT, ("--timeout", "1ms"), "Unreachable", "was not done within 0.001 s (--timeout)"),
        (RIGHT, ("--max-bytes", "100"), "Invalid", "more than the 100 that --max-bytes allows"),
    ],
)
def test_what_is_no_verdict_is_one_sentence(
    judge: Judge,
    echo: Server,
    tmp_path: Path,
    *,
    arrays: dict[str, object],
    flags: tuple[str, ...],
    reason: str,
    said: str,
) -> None:
    told = judge.refusal(write(tmp_path / "d.npz", **arrays), echo, *flags)
    assert told[0] == reason
    assert said in told[1]


def test_nobody_at_the_address_is_asked_again_and_then_told(judge: Judge, column: Path) -> None:
    (port,) = ports.free(1)
    reason, said = judge.refusal(column, f"http://127.0.0.1:{port}")
    assert reason == "Unreachable"
    assert said.endswith("gave no answer in 6 attempts, the last time: Connection refused.")


def test_a_model_that_is_too_slow_is_told_wherever_the_time_is_over(judge: Judge, column: Path, tmp_path: Path) -> None:
    with running(echo_directory(tmp_path / "m", pause_seconds=1)) as server:
        reason, said = judge.refusal(column, server, "--request-timeout", "100ms")
        assert reason == "Unreachable"
        assert said.endswith("did not answer within 0.1 s (--request-timeout).")
        for metric in ("mse", "latency_p50", "throughput"):
            reason, said = judge.refusal(column, server, "--timeout", "500ms", "--metrics", metric)
            assert reason == "Unreachable"
            assert said.startswith("The evaluation was not done within 0.5 s (--timeout)")


def test_who_asks_needs_no_torch(column: Path, echo: Server) -> None:
    command = ["evaluate", f"file://{column}", "--url", f"http://127.0.0.1:{echo.port}", "--model", "m", *MSE]
    check = f"import sys; from model_server.cli import main; sys.exit(main({command}) or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, env={"PYTHONPATH": ":".join(sys.path)})


# -- servers of others, as far as what they answer differs from ours

Page = Callable[[bytes], tuple[int, dict[str, str], bytes]]


@dataclass
class Peer:
    """A server of the protocol that knows JSON only."""

    pages: dict[str, Page]
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def peer(**pages: Page) -> Iterator[Peer]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            name = {"/v2": "server", "/v2/models/m": "model"}.get(self.path, "infer")
            served.asked.append(name)
            status, headers, content = served.pages[name](body)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = self.close_connection or "Content-Length" in headers

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    served = Peer({"server": gone, "model": describes([-1, 1]), "infer": echoes, **pages})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def gone(_body: bytes) -> tuple[int, dict[str, str], bytes]:
    return 404, {}, b"<html>"


def describes(shape: list[int]) -> Page:
    tensor = {"name": "x", "datatype": "FP32", "shape": shape}
    return lambda _: (200, {}, json.dumps({"inputs": [tensor], "outputs": [{**tensor, "name": "y"}]}).encode())


def echoes(body: bytes) -> tuple[int, dict[str, str], bytes]:
    asked = json.loads(body)
    assert asked["outputs"] == [{"name": "y"}]
    return 200, {}, json.dumps({"outputs": [{**asked["inputs"][0], "name": "y"}]}).encode()


def in_turn(*pages: Page) -> Page:
    left = list(pages)

    def page(body: bytes) -> tuple[int, dict[str, str], bytes]:
        return (left.pop(0) if len(left) > 1 else left[0])(body)

    return page


def test_a_server_without_binary_tensors_is_asked_in_json(judge: Judge, column: Path) -> None:
    with peer() as other:
        assert judge(column, other.url, *MSE)["metrics"] == {"mse": "0"}


def test_a_model_that_wants_so_many_rows_gets_them(judge: Judge, column: Path) -> None:
    sizes = set()

    def infer(body: bytes) -> tuple[int, dict[str, str], bytes]:
        sizes.add(json.loads(body)["inputs"][0]["shape"][0])
        return echoes(body)

    with peer(model=describes([8, 1]), infer=infer) as other:
        told = judge(column, other.url, *MSE, "--batch", "64")
    assert (told["rows"], told["metrics"], sizes) == (20, {"mse": "0"}, {8})


def test_who_is_full_or_lets_a_connection_go_is_asked_again(judge: Judge, column: Path) -> None:
    full = lambda _: (429, {"Retry-After": "0"}, b'{"error": "full"}')  # noqa: E731
    loading = lambda _: (503, {}, b"loading")  # noqa: E731
    cut = lambda body: (200, {"Content-Length": "9999"}, echoes(body)[2])  # noqa: E731
    with peer(model=in_turn(loading, describes([-1, 1])), infer=in_turn(echoes, full, cut, loading, echoes)) as other:
        assert judge(column, other.url, *MSE)["metrics"] == {"mse": "0"}
        assert other.asked == [*2 * ["model"], "server", *5 * ["infer"]]


def test_who_stays_full_is_no_verdict(judge: Judge, column: Path) -> None:
    with peer(infer=lambda _: (503, {}, b'{"error": "the queue\\nis full"}')) as other:
        reason, said = judge.refusal(column, other.url, *MSE)
        assert len(other.asked) == 2 + endpoint.ATTEMPTS
    assert reason == "Unreachable"
    assert said.endswith("gave no answer in 6 attempts, the last time: answers 503: the queue is full.")


def test_a_server_that_asks_to_wait_is_waited_for(judge: Judge, column: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(endpoint.time, "sleep", pauses.append)
    full = [lambda _, seconds=seconds: (429, {"Retry-After": seconds}, b"") for seconds in ("3", "9999", "soon")]
    with peer(infer=in_turn(*full, echoes)) as other:
        judge(column, other.url, *MSE)
    assert pauses == [3, 10, 0.04]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (lambda _: (200, {}, b"<html>"), "is not one of the protocol"),
        (lambda _: (200, {}, b'{"outputs": []}'), "lacks the output 'y'"),
        (lambda _: (418, {}, b"x" * 10_000), f"answers 418 to an inference: {'x' * 300}."),
        (lambda _: (500, {}, b'{"error": {"code": 1}}'), "answers 500 to an inference: {'code': 1}."),
        (lambda _: (200, {}, bytes(200)), "answers with more than 100 bytes; let --batch ask for fewer rows"),
        (
            lambda _: (200, {}, b'{"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [1]}]}'),
            "20 rows from 0 on with 'y' of the shape [1]; it must be one row for each, all alike",
        ),
    ],
)
def test_answers_that_are_none_are_no_verdict(
    judge: Judge, column: Path, page: Page, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with peer(infer=page) as other:
        if "100 bytes" in said:
            monkeypatch.setattr(endpoint, "MAX_ANSWER_BYTES", 100)
            other.pages["model"] = lambda _: (200, {}, bytes(200))
        assert said in judge.refusal(column, other.url, *MSE)[1]
