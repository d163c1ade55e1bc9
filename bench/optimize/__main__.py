"""`make bench-optimize`: MiniLM beside eager torch and sentence-transformers, and digits pruned and in INT8.

    python bench/optimize [--rounds 5]

Peers run in an environment of their own with the same torch; what is compared is measured in turns in one run, one side
computing while the other waits. Progress goes to stderr; the last line of stdout is one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elsewhere import Elsewhere
from environments import python_of, version_of
from published import LIBRARY, minilm
from served import Served
from turns import in_turns, times_faster

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = Path(__file__).parent
TEXTS, SHORTEST, LONGEST = 256, 5, 60  # words
TOKENS, BATCH = 128, 16
WORDS = HERE.joinpath("words.txt").read_text(encoding="utf-8").split()


class Worker:
    """A process that measures what it is told to, and only then computes."""

    def __init__(self, name: str, python: str, script: str, *arguments: str, threads: int | None) -> None:
        limit = {} if threads is None else {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self.name = name
        self.process = subprocess.Popen(
            [python, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **limit, "TOKENIZERS_PARALLELISM": "true", "HF_HUB_OFFLINE": "1"},
        )

    def ask(self, **what: object) -> Any:  # noqa: ANN401
        """Have it do one thing."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"{self.name} ended with {self.process.wait()}"
        return json.loads(line)


@contextlib.contextmanager
def workers(*started: Worker) -> Iterator[None]:
    """End them."""
    try:
        yield
    finally:
        for worker in started:
            worker.process.kill()
            worker.process.wait()


def texts(seed: int) -> list[str]:
    """Draw texts of all lengths."""
    draw = random.Random(seed)  # noqa: S311  # a bench
    return [" ".join(draw.choices(WORDS, k=draw.randint(SHORTEST, LONGEST))) for _ in range(TEXTS)]


def encoder(model: Path, source: str, rounds: int, elsewhere: Elsewhere) -> dict[str, object]:
    """Compare forward passes with one thread each, and the vectors themselves."""
    python = str(python_of(LIBRARY))
    eager = Worker("eager torch", python, "peer.py", source, "1", threads=1)
    ours = Worker("ours", sys.executable, "ours.py", str(model), "Auto", threads=1)
    exact = Worker("ours in FP32", sys.executable, "ours.py", str(model), "Float32", threads=1)
    found: dict[str, object] = {}
    with workers(eager, ours, exact):
        for name, rows in (("speedup", BATCH), ("speedup_batch_1", 1)):
            _say(f"{rows} x {TOKENS} tokens, one thread")
            ask = {"what": "forward", "rows": rows, "tokens": TOKENS}
            with elsewhere.watching(lambda: [each.process.pid for each in (eager, ours, exact)]):
                theirs, mine = in_turns(rounds, lambda: float(eager.ask(**ask)), lambda: float(ours.ask(**ask)))  # noqa: B023
            found[name] = times_faster(theirs, mine)
            found[f"{name}_ms"] = {
                "eager": round(1e3 * statistics.median(theirs), 2),
                "ours": round(1e3 * statistics.median(mine), 2),
            }
        _say("vectors")
        given = texts(seed=1)
        right, reduced, full = (worker.ask(what="encode", texts=given) for worker in (eager, ours, exact))
        found["embedding_cosine"] = round(min(map(_cosine, right, reduced)), 5)
        found["embedding_max_error"] = max(
            abs(a - b) for one, other in zip(right, full, strict=True) for a, b in zip(one, other, strict=True)
        )
        found["precision"] = ours.ask(what="precision")
    return found


def over_http(model: Path, source: str, rounds: int, elsewhere: Elsewhere) -> dict[str, object]:
    """Compare our server with a library in process, each with all CPUs and its defaults."""
    given = texts(seed=2)
    theirs = Worker(LIBRARY, str(python_of(LIBRARY)), "peer.py", source, "", threads=None)
    cpus = len(os.sched_getaffinity(0))
    with workers(theirs), Served(model, processes=cpus) as server:

        def encode() -> float:
            return float(theirs.ask(what="timed", texts=given))

        def serve() -> float:
            return server.seconds(given)

        _say(f"{TEXTS} texts: {LIBRARY} in process, ours over HTTP, {cpus} CPUs each")
        in_turns(1, encode, serve)  # neither has seen such lengths yet
        with elsewhere.watching(lambda: [theirs.process.pid, *server.pids()]):
            in_process, over = in_turns(rounds, encode, serve)
    return {
        "embedding_vs_sentence_transformers": times_faster(in_process, over),
        "texts_per_second": {
            LIBRARY: round(TEXTS / statistics.median(in_process), 1),
            "ours": round(TEXTS / statistics.median(over), 1),
        },
    }


def digits(folder: Path) -> dict[str, object]:
    """Train, prune and store in INT8 with the tool's own commands."""
    _say("digits: train, prune, INT8")
    data, model, small = folder / "digits", folder / "model", folder / "small"
    subprocess.run([sys.executable, HERE.parents[1] / "examples" / "digits" / "data.py", data], check=True)
    learned, held_out = ["--data", str(data / "train.npz")], ["--held-out", str(data / "held-out.npz")]
    asked = ["--loss", "CrossEntropy", "--hidden", "128,64", "--batch-size", "64", "--epochs", "60"]
    _command("train", *learned, *held_out, *asked, "--out", str(model))
    bounds = ["--max-accuracy-loss", "0.5", "--max-size", "40%", "--numbers", "INT8"]
    told = _command("optimize", str(model), *learned, *held_out, *bounds, "--out", str(small))
    sizes = [sum(file.stat().st_size for file in path.iterdir()) for path in (small, model)]
    return {
        "digits_size_ratio": round(sizes[0] / sizes[1], 3),  # of the whole directory, the card and golden rows with it
        "accuracy_lost_points": told["lost"],
        "digits": {"how": told["how"], "accuracy": told["accuracy"], "before": told["accuracy_before"]},
        "digits_weights_ratio": told["size"],
        "digits_latency_ratio": told["latency"],
    }


def _command(*arguments: str) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-m", "model_server", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


def processor() -> dict[str, object]:
    """Name it, and what it has for fewer bits."""
    text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = set(re.findall(r"\b(?:amx_\w+|avx512_(?:bf16|vnni)|avx_vnni|avx512f)\b", text))
    return {"name": name[1] if name else "unknown", "flags": sorted(flags)}


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    elsewhere = Elsewhere()
    _say("installing the peer (the first time)")
    source = str(minilm())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        found = digits(folder)
        _command("convert", source, "--out", str(folder / "minilm"))
        found |= encoder(folder / "minilm", source, options.rounds, elsewhere)
        found |= over_http(folder / "minilm", source, options.rounds, elsewhere)
    cpus = elsewhere.cpus
    found |= {
        "processor": processor(),
        "versions": {LIBRARY: version_of(LIBRARY)},
        "cpus_elsewhere_mean_and_most": [round(statistics.mean(cpus), 2), round(max(cpus), 2)],
    }
    print(json.dumps(found))


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
