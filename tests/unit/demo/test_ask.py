import json

from demo import ask


def test_a_digit_is_sent_as_one_row_of_pixels_and_ten_scores_come_back() -> None:
    sent: list[tuple[str, dict[str, object]]] = []

    def post(path: str, body: str) -> str:
        sent.append((path, json.loads(body)))
        return json.dumps({"outputs": [{"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [0, 1.5]}]})

    assert ask.scores(post, "digits", [0, 16]) == [0.0, 1.5]
    assert sent == [
        ("/v2/models/digits/infer", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0, 16]}]})
    ]
