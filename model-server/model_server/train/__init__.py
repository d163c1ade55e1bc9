"""`model-server train`: a data set becomes a model directory, and a report on how it was learned.

`table` reads the data set. `options` says how to train. `network` makes a module and its card for both. `fit` is the
loop over the epochs; `team` lets several processes do it together, `checkpoint` lets a killed one go on. `judge` says
how good a model is, `folds` how good such models are. `train` puts them in order and writes the directory; `report`
draws the curves.

The same seed gives the same bytes. All randomness of an epoch comes from the seed and its number, so there is no state
of a generator to keep.
"""

from model_server.train.options import Options
from model_server.train.table import Table, read_table, synthetic_table
from model_server.train.train import train

__all__ = ["Options", "Table", "read_table", "synthetic_table", "train"]
