"""A small, fast server for torch models: Open Inference Protocol, micro-batching, artefacts that are data only.

How the modules fit, from the outside in:

    cli -> serve            listener, asgi     sockets and HTTP: the only modules that know uvicorn
                            door               who is let in, and over what: tokens, certificate, renewed from files
                            routes, exchange   handlers: bytes and headers in, bytes and headers out
                            protocol/          the wire format, both ways (pure)
                            batcher, executor  who runs when, and where
                            model              weights + architecture -> a forward function: imports torch
        -> fetch/           a URI becomes a directory with a verified digest
        -> describe, train  look at an artefact, make one
    artefact/               what a model directory is: card, digest, publishing
"""

__version__ = "0.1.0"
