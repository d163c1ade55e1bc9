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


def test_a_port_of_the_node_leads_to_the_pods_of_the_models_own_service() -> None:
    selector = {"modelservice.dev/name": "digits", "modelservice.dev/revision": "digits-1"}
    ports = [{"name": "http", "port": 8080, "targetPort": "http", "protocol": "TCP"}]
    service = {"metadata": {"name": "digits", "namespace": "ml"}, "spec": {"selector": selector, "ports": ports}}
    outside = ask.node_port(service, 30080)
    assert outside["metadata"] == {"name": "digits-outside", "namespace": "ml"}
    assert outside["spec"]["selector"] == selector
    assert outside["spec"]["ports"] == [{"name": "http", "port": 8080, "targetPort": "http", "nodePort": 30080}]
