"""Build the two container images, with docker where it runs and from Debian packages where it does not.

`recipe` says what the local bases hold and `fingerprint` when something must be built anew; neither runs anything.
`rootfs` makes a root file system, `buildah` and `docker` make images; `programs` runs whatever they need.
`build` is the story, `cli` the door. Standard library only, as `cluster`, whose progress lines and errors it shares.
"""
