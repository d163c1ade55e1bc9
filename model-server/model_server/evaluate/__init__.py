"""`model-server evaluate`: a data set and a model become numbers, or one sentence why not.

`dataset` reads an npz file that nobody has vouched for. `judged` says what is asked of a model, and asks one in this
process; `served` asks one over its endpoint: `wire` writes requests of the protocol and reads answers (pure),
`endpoint` sends them. `scores` compares answers with what is right (pure), `pace` times them. `outcome` has the figures
of all or some rows, `slices` says which (pure), `intervals` how far they may be off (pure), `report` draws them.
`evaluate` puts all in order: fetch, describe, read, ask, compare, tell.
"""

from model_server.evaluate.endpoint import Endpoint
from model_server.evaluate.evaluate import Options, evaluate, parse_metrics
from model_server.evaluate.judged import Loaded

__all__ = ["Endpoint", "Loaded", "Options", "evaluate", "parse_metrics"]
