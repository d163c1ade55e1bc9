"""Ask a served model as its clients do, and tell how many answers are right."""

import argparse
import json
import time
import urllib.request

import numpy as np
from matplotlib.figure import Figure


def post(url: str, rows: np.ndarray, **parameters: object) -> np.ndarray:
    """Send rows in the Open Inference Protocol, and return what comes back for each."""
    tensor = {"name": "x", "datatype": "FP32", "shape": rows.shape, "data": rows.reshape(-1).tolist()}
    body = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        output = json.load(answer)["outputs"][0]
    return np.array(output["data"]).reshape(output["shape"])


def explain(url: str, row: np.ndarray, digit: int, picture: str) -> None:
    """Draw a digit, and which of its pixels speak for it (red) and against it (blue)."""
    reasons = post(f"{url}/explain", row[None], target=digit)[0]
    most = np.abs(reasons).max()
    figure = Figure(figsize=(4, 2), layout="constrained")
    seen, why = figure.subplots(1, 2)
    seen.imshow(row.reshape(8, 8), cmap="gray_r")
    why.imshow(reasons.reshape(8, 8), cmap="bwr", vmin=-most, vmax=most)
    for axes, title in ((seen, f"a {digit}, it says"), (why, "because of")):
        axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(picture)
    print(f"the pixel that speaks most for a {digit} is {np.argmax(reasons)}, drawn in {picture}")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("url")
parser.add_argument("data")
parser.add_argument("--explain", metavar="PICTURE", help="explain the first answer")
parser.add_argument("--seconds", type=float, default=0, help="go on for so long, with ten requests a second")
parser.add_argument("--inverted", action="store_true", help="send white digits on black")
options = parser.parse_args()
data = np.load(options.data)
rows = data["x"].astype(np.float32)
if options.inverted:
    rows = 16 - rows
parts = np.array_split(rows, 12)
said = np.concatenate([post(f"{options.url}/infer", part).argmax(axis=1) for part in parts])
print(f"{np.mean(said == data['y']):.1%} of {len(rows)} answers are right")
if options.explain:
    explain(options.url, rows[0], int(said[0]), options.explain)
end = time.monotonic() + options.seconds
while time.monotonic() < end:
    post(f"{options.url}/infer", parts[0])
    time.sleep(0.1)
