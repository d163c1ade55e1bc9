"""`model-server fetch`: a URI becomes `DIR/current` and `DIR/digest`, or nothing changes. Or one file, as it is.

`source` reads URIs (pure). `download` brings one file over https; `bucket`, `hub` and `artefact` are stores of many,
whose files `transfer` brings in parts; `registry` speaks with registries of artefacts. `unpack` opens archives that
nobody has vouched for. `cache` keeps what was brought, for one pod or for all. `fetch` puts them in order: bring,
check, publish.
"""

from model_server.fetch.fetch import Options, fetch, fetch_file
from model_server.fetch.source import parse_uri

__all__ = ["Options", "fetch", "fetch_file", "parse_uri"]
