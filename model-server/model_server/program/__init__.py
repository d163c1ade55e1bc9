"""`.pt2`, what torch.export saves: read as data, and run without torch ever loading the file.

torch.export.load trusts what it reads: it unpickles tensors that say so, evaluates the expressions of shapes, and looks
up operators and metadata by name in all of torch (torch 2.15; its `weights_only`, where there is one, covers the first
of the three). Therefore this package reads the archive itself:

    archive       a zip file with known, uncompressed entries and nothing else
    document      its model.json: a list of steps from the allowed operators, everything else refused by name
    operators     which operators those are
    expressions   shapes and guards: parsed, never evaluated as Python
    run           steps and tensors -> a torch module: the only part that imports torch

What is refused here can be served with `spec.model.trust: Native`, where torch loads it.
"""
