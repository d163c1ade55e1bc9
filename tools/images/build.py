"""Build an image unless it is there: key, base, layers, archive, record."""

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError
from cluster.progress import say, step
from images import docker, recipe, rootfs
from images.buildah import Store
from images.fingerprint import digest_of, digest_of_folder
from images.programs import ProgramFailedError

REPOSITORY = Path(__file__).resolve().parent.parent.parent
OUTPUT = REPOSITORY / ".images"
_MEBIBYTE = 1 << 20
_MAIN_PACKAGE = re.compile(r"python3\.\d+|python3-torch|libopenblas0-pthread")


@dataclass(frozen=True)
class Image:
    """One of our images: its build context is a folder of the repository, its archive lies in `.images`."""

    name: str
    context: Path
    bases: tuple[recipe.Base, ...]  # in the order in which they are tried

    @property
    def tag(self) -> str:
        """The name under which a node knows the image."""
        return f"localhost/modelservice/{self.name}:dev"

    @property
    def archive(self) -> Path:
        """The docker archive."""
        return OUTPUT / f"{self.name}.tar"

    @property
    def record(self) -> Path:
        """What the archive was made of."""
        return OUTPUT / f"{self.name}.json"


IMAGES = (
    Image("operator", REPOSITORY / "operator", tuple(map(recipe.python_base, recipe.RELEASES))),
    Image("model-server", REPOSITORY / "model-server", tuple(map(recipe.torch_base, recipe.RELEASES))),
)


def build(images: tuple[Image, ...], arguments: Mapping[str, str]) -> None:
    """Build those of the images whose inputs changed."""
    OUTPUT.mkdir(exist_ok=True)
    keys = {image.name: key(image, arguments) for image in images}
    stale = [image for image in images if not is_current(image, keys[image.name])]
    for image in images:
        if image not in stale:
            say(f"{image.name}: unchanged, {size(image.archive)} in {shown(image.archive)}")
    if not stale:
        return
    with_docker = docker.runs()
    with _alone():
        for image in stale:
            if is_current(image, keys[image.name]):  # another build made it while this one waited
                continue
            with step(f"{image.name}: building"):
                origin = _by_docker(image, arguments) if with_docker else _by_buildah(image)
            record = {"image": image.tag, "key": keys[image.name], "bytes": image.archive.stat().st_size, **origin}
            image.record.write_text(json.dumps(record, indent=2) + "\n")
            say(f"{image.name}: {size(image.archive)} in {shown(image.archive)}")


def key(image: Image, arguments: Mapping[str, str]) -> str:
    """Digest everything that decides what the image holds."""
    given = json.dumps(dict(arguments), sort_keys=True)
    return digest_of(image.tag, digest_of_folder(image.context), *(base.tag for base in image.bases), given)


def is_current(image: Image, wanted: str) -> bool:
    """Whether the archive is there, whole, and made of the same inputs."""
    try:
        record = json.loads(image.record.read_text())
        return bool(record["key"] == wanted and record["bytes"] == image.archive.stat().st_size)
    except (OSError, ValueError, KeyError):
        return False


def size(archive: Path) -> str:
    """Return an archive's size for people."""
    return f"{archive.stat().st_size / _MEBIBYTE:.0f} MiB"


def shown(path: Path) -> str:
    """Return a path as the user would type it in the repository."""
    return str(path.relative_to(REPOSITORY))


def cache() -> Path:
    """Return the folder that keeps bases and layers."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelservice" / "images"


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let one build at a time work in the cache."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build of images")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _by_docker(image: Image, arguments: Mapping[str, str]) -> dict[str, object]:
    log = cache() / "logs" / f"{image.name}.log"
    docker.build(image.context, image.tag, arguments=arguments, log=log)
    with _whole(image.archive) as archive:
        docker.save(image.tag, archive, log=log)
    return {"builder": "docker", "arguments": dict(arguments)}


def _by_buildah(image: Image) -> dict[str, object]:
    store = Store(cache() / "store", cache() / "logs")
    rootfs.require_tools()
    store.forget_crashes()
    base = _first_base(image, store)
    versions = _versions(base)
    store.build(
        image.context,
        image.tag,
        dockerfile=image.context / "Dockerfile",
        arguments={"BASE_IMAGE": base.tag},
        labels={"dev.modelservice.base": description(base, versions)},
    )
    with step(f"{image.name}: saving"), _whole(image.archive) as archive:
        store.save(image.tag, archive)
    _drop_old(store)
    return {"builder": "buildah", "debian": base.release, "packages": versions}


def description(base: recipe.Base, versions: Mapping[str, str]) -> str:
    """Tell in one line what the image stands on; the image's own package database tells all of it."""
    main = [f"{name} {version}" for name, version in versions.items() if _MAIN_PACKAGE.fullmatch(name)]
    return f"Debian {base.release}: {', '.join(main)}"


def _first_base(image: Image, store: Store) -> recipe.Base:
    """Return the first base that is there or can be made; a release that fails gives way to the next."""
    failures: list[str] = []
    for base in image.bases:
        try:
            _provide(base, store)
        except ProgramFailedError as failed:
            say(f"{base.name}: Debian {base.release} does not do. {str(failed).splitlines()[0]}")
            failures.append(str(failed))
        else:
            return base
    raise ClusterError(f"No base for the image {image.name} could be made.\n" + "\n".join(failures))


def _provide(base: recipe.Base, store: Store) -> None:
    """Make a base, and the one below it, unless the store has it."""
    if store.has(base.tag) and _versions_file(base).exists():
        return
    below = recipe.python_base(base.release)
    if base != below:
        _provide(below, store)
    with step(f"{base.name}: Debian {base.release} with {' '.join(base.packages)}"), _workplace() as folder:
        dockerfile = folder / "Dockerfile"
        dockerfile.write_text(base.dockerfile)
        if base == below:
            rootfs.make_root(base, folder, store.logs / "debootstrap.log")
        store.build(
            folder,
            base.tag,
            dockerfile=dockerfile,
            arguments={},
            labels={},
            volumes=[f"{folder}:{recipe.RECORD_FOLDER}"],
        )
        _versions_file(base).parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / "versions", _versions_file(base))


def _versions_file(base: recipe.Base) -> Path:
    return cache() / "versions" / base.tag.rsplit("/", 1)[-1]


def _versions(base: recipe.Base) -> dict[str, str]:
    """Return what was installed: releases roll, so the recipe alone does not tell."""
    pairs = (line.split() for line in _versions_file(base).read_text().splitlines())
    return dict(sorted((name, version) for name, version in pairs))


def _drop_old(store: Store) -> None:
    """Keep in the store what the recipe and the images of today need, and nothing else."""
    bases = {recipe.python_base(release) for release in recipe.RELEASES} | {b for image in IMAGES for b in image.bases}
    store.keep_only([base.tag for base in bases] + [image.tag for image in IMAGES])
    wanted = {_versions_file(base).name for base in bases}
    for file in (cache() / "versions").iterdir():
        if file.name not in wanted:
            file.unlink()


@contextlib.contextmanager
def _workplace() -> Iterator[Path]:
    """Give a folder for a build's large intermediate files, also rid of what a killed build left in it."""
    folder = cache() / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _whole(archive: Path) -> Iterator[Path]:
    """Let an archive appear under its name only when it is complete."""
    unfinished = archive.with_suffix(".unfinished")
    try:
        yield unfinished
        unfinished.replace(archive)
    finally:
        unfinished.unlink(missing_ok=True)
