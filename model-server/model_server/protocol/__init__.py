"""The Open Inference Protocol (V2) over REST, with the binary tensor extension, both ways.

`datatypes` names what tensors are made of, `decode` turns a request's bytes into arrays checked against the model's
signature, `encode` turns arrays into an answer's bytes. Pure functions: no sockets, no clock, no torch.
"""
