"""`make demo`: a model is trained, served and asked, on a cluster that did not exist before.

`story` is the order of events; `stage` prepares what a managed cluster would have; `ask` speaks the inference protocol;
`kubectl` runs the program of that name; `picture` turns numbers into text.
"""
