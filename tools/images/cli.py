"""The command line: `build [IMAGE…] [--build-arg NAME=VALUE…]`."""

import argparse
import sys

from cluster.errors import ClusterError
from images.build import IMAGES, build


def main() -> int:
    """Build what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="tools/images", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="build")
    command = commands.add_parser("build", help="build images whose inputs changed, into .images/*.tar")
    names = [image.name for image in IMAGES]
    command.add_argument("images", nargs="*", metavar="IMAGE", help=f"{' or '.join(names)}; all if none is named")
    command.add_argument(
        "--build-arg",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="with docker only: an argument of the Dockerfile, such as BASE_IMAGE or TORCH_INDEX",
    )
    given = parser.parse_args()
    if unknown := set(given.images) - set(names):
        parser.error(f"there is no image {', '.join(sorted(unknown))}; there are {' and '.join(names)}")
    arguments = dict(pair.split("=", 1) for pair in given.build_arg if "=" in pair)
    if len(arguments) != len(given.build_arg):
        parser.error("--build-arg takes NAME=VALUE, each name once")
    try:
        build(tuple(image for image in IMAGES if image.name in given.images or not given.images), arguments)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return 0
