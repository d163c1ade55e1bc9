"""What a model needs of a machine, before there is one.

`cost` runs the model once and writes down each step: its operations, the bytes that it moves, the most memory at once.
`hardware` knows machines, `calibrate` measures this one, `size` puts the two together.
"""

from model_server.size.size import Options, as_text, size

__all__ = ["Options", "as_text", "size"]
