"""`model-server push`: a model directory goes to where `fetch` finds it. Another model there is overwritten on request.

`push` tells targets apart. `directory` and `web` write all at once, `bucket` file by file, `artefact` layer by layer
and then the manifest that names them. Each leaves what is there and the same, so a push that broke off goes on.
"""

from model_server.push.push import Options, push

__all__ = ["Options", "push"]
