"""`model-server optimize`: a model directory becomes a smaller or faster one that answers nearly as well.

`prune` leaves out neurons or weights. `candidates` makes what may be served instead, learning again what was left out.
`measure` says how good, how fast and how large each is. `choose` takes the best within the bounds. `optimize` puts
them in order and writes the directory; `report` draws them.
"""

from model_server.optimize.choose import Bounds
from model_server.optimize.optimize import Options, optimize

__all__ = ["Bounds", "Options", "optimize"]
