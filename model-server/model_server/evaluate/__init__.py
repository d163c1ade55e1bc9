"""`model-server evaluate`: a data set and a model that is being served become numbers, or one sentence why not.

`dataset` reads an npz file that nobody has vouched for. `wire` writes requests of the protocol and reads answers
(pure), `endpoint` sends them. `scores` compares answers with what is right (pure), `pace` times them. `evaluate` puts
them in order: fetch, describe, read, ask, compare.
"""

from model_server.evaluate.endpoint import Endpoint
from model_server.evaluate.evaluate import Options, evaluate, parse_metrics

__all__ = ["Endpoint", "Options", "evaluate", "parse_metrics"]
