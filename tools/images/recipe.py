"""What the local base images hold, as data: Debian releases, packages, and the files that are left out."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from images.fingerprint import digest_of

# The first one that installs is used. forky has torch 2.14 on Python 3.14, trixie has 2.6 on 3.13.
RELEASES = ("forky", "trixie")

PYTHON_PACKAGES = ("ca-certificates", "python3", "python3-pip")

# Without libopenblas0 torch multiplies matrices by the reference BLAS: 4 rows/s instead of 45 on a small encoder.
TORCH_PACKAGES = ("python3-torch", "libopenblas0-pthread")

# Shell patterns over absolute paths, `*` matches `/` too, the last pattern that matches decides: dpkg's own rules,
# so that one list serves for the first packages (which debootstrap unpacks without dpkg) and for all later ones.
LEFT_OUT = (
    "-/usr/share/doc/*",
    "+/usr/share/doc/*/copyright",
    "-/usr/share/info/*",
    "-/usr/share/lintian/*",
    "-/usr/share/locale/*",
    "-/usr/share/man/*",
    "-/usr/include/*",
    "-/usr/lib/*/gconv/*",
    "-/usr/lib/*/perl-base/unicore/*",
    # The graphics drivers' compiler; libtorch links libz3 itself, so that one stays.
    "-/usr/lib/llvm-*",
    "-/usr/lib/*/libLLVM*",
    "-/usr/lib/*/libamd_comgr*",
    "-/usr/lib/*/libamdhip64*",
    "-/usr/lib/*/libhsa-runtime64*",
    # torch's own tests.
    "-/usr/lib/libtorch-test/*",
    "-/usr/lib/python3/dist-packages/torch/bin/*",
    "+/usr/lib/python3/dist-packages/torch/bin/torch_shm_manager",
)

# Removed after the installation, which compiles all Python files of a package and may insist on finding them:
# hypothesis is for tests, requirements.txt brings a pinned numpy, and the rest is what torch's tracing imports.
_REMOVED_PYTHON = "rm -rf hypothesis* numpy* && find networkx sympy mpmath -type d -name tests -prune -exec rm -rf {} +"

# Left out of the first layer only: what dpkg and apt write while they work.
_LEFTOVERS = ("/var/cache/apt/*", "/var/lib/apt/lists/*", "/var/log/*", "/tmp/*", "/etc/resolv.conf", "/etc/hostname")  # noqa: S108

# Installing into a file system that is thrown away if anything fails needs no fsync after each file.
_DPKG_SPEED = "force-unsafe-io\n"

# Where a RUN step finds the folder of the host in which it reports the versions that it installed.
RECORD_FOLDER = "/record"


def is_left_out(path: str) -> bool:
    """Whether a file of the image is left out, by the last pattern that matches its absolute path."""
    left_out = False
    for pattern in LEFT_OUT:
        if fnmatchcase(path, pattern[1:]):
            left_out = pattern[0] == "-"
    return left_out


def is_leftover(path: str) -> bool:
    """Whether a file is a trace of the installation itself."""
    return any(fnmatchcase(path, pattern) for pattern in _LEFTOVERS)


def dpkg_configuration() -> str:
    """Tell dpkg which files it must not unpack."""
    words = {"-": "path-exclude", "+": "path-include"}
    return _DPKG_SPEED + "".join(f"{words[pattern[0]]}={pattern[1:]}\n" for pattern in LEFT_OUT)


@dataclass(frozen=True)
class Base:
    """A base image to be made: its tag holds the digest of everything that goes into it, except Debian's own state."""

    name: str
    release: str
    dockerfile: str
    packages: tuple[str, ...]

    @property
    def tag(self) -> str:
        """The image's name in the local store."""
        inputs = (self.release, self.dockerfile, *self.packages, dpkg_configuration(), *_LEFTOVERS)
        return f"localhost/modelservice/{self.name}:{self.release}-{digest_of(*inputs)[:12]}"


def python_base(release: str) -> Base:
    """Debian's smallest system with Python and pip, unpacked from `rootfs.tar` beside the Dockerfile."""
    return Base("base-python", release, 'FROM scratch\nADD rootfs.tar /\nCMD ["python3"]\n', PYTHON_PACKAGES)


def torch_base(release: str) -> Base:
    """Debian's CPU torch on top of `python_base`, so that both images share their first layer.

    A mirror may lag behind; signatures are checked all the same, and debootstrap looks at no dates either.
    """
    dockerfile = f"""\
FROM {python_base(release).tag}
RUN export DEBIAN_FRONTEND=noninteractive \\
 && apt-get -qq -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false update \\
 && apt-get -qq install --no-install-recommends {" ".join(TORCH_PACKAGES)} \\
 && dpkg-query -W -f '${{Package}} ${{Version}}\\n' > {RECORD_FOLDER}/versions \\
 && cd /usr/lib/python3/dist-packages && {_REMOVED_PYTHON} && python3 -m compileall -q . \\
 && apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/*
"""
    return Base("base-torch", release, dockerfile, TORCH_PACKAGES)
