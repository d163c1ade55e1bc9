"""The zip file around a program: entries that are known, stored as they are, each once. Nothing is unpacked to disk."""

from __future__ import annotations

import pickletools
import re
import stat
import zipfile
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

from model_server.errors import ModelError, NeedsNativeError, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO

MAX_ENTRIES = 100_000
MAX_TEXT_BYTES = 256 * 1024 * 1024  # of model.json; the largest exports of today have a tenth

_MODEL = r"[^/]+"
_KNOWN = re.compile(
    rf"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|\.format_version|\.storage_alignment"
    rf"|models/{_MODEL}\.json|data/weights/({_MODEL}_weights_config\.json|weight_[0-9]+)"
    rf"|data/constants/({_MODEL}_constants_config\.json|tensor_[0-9]+)|data/sample_inputs/{_MODEL}\.pt|extra/.*"
)
# What stands in the way more often than others deserves its name.
_FOREIGN = (
    (re.compile(r"data/aotinductor/.*|.*\.(so|cpp|o|cubin|ptx)"), "compiled code"),
    (re.compile(r"data/(weights|constants)/[^/]+\.pt"), "weights in torch's old, pickled form"),
    (re.compile(r"data/constants/(custom_obj|opaque_obj)_.*"), "an object that only unpickling could read"),
    (re.compile(r"code/.*"), "TorchScript"),
)
# What a pickle of plain tensors names, and all that it does.
_TENSOR_NAMES = re.compile(
    r"torch\._utils _rebuild_(tensor_v2|parameter)|torch\._tensor _rebuild_from_type_v2|collections OrderedDict"
    r"|torch (Tensor|[A-Z][A-Za-z0-9]*Storage|Size|device|(b?float|u?int|complex)[0-9]+|bool)"
)
_NAMELESS = {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD", "EXT1", "EXT2", "EXT4", "PERSID"}


class Archive:
    """An open archive whose table of contents is in order; names are those inside its one root folder."""

    def __init__(self, file: IO[bytes], shown: str) -> None:
        self._shown = shown
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise self.broken(f"it is no zip archive ({error})") from error
        self._entries = self._in_order(file.seek(0, 2))

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Archive]:
        """Open a file of a model directory for a while."""
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise ModelError(Reason.INVALID, f"{path} is missing.") from None
        with file:
            yield cls(file, str(path))

    def names(self, pattern: str) -> list[str]:
        """Return the names that match a pattern as a whole."""
        return [name for name in self._entries if re.fullmatch(pattern, name)]

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return one entry, as its checksum promises it."""
        if name not in self._entries:
            raise self.broken(f"it has no {name}")
        entry = self._entries[name]
        if most is not None and entry.file_size > most:
            raise self.refused(f"{name} has {entry.file_size:,} bytes, more than {most:,}")
        try:
            return self._zip.read(entry)
        except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            raise self.broken(f"{name}: {error}") from error

    def refused(self, why: str) -> NeedsNativeError:
        """Make the error of this archive."""
        return NeedsNativeError(self._shown, why)

    def broken(self, why: str) -> ModelError:
        """Make the error of an archive that nobody could read."""
        return ModelError(Reason.INVALID, f"{self._shown} cannot be read: {why}.")

    def check_known(self) -> None:
        """Refuse every entry that torch.export does not write for a program of tensors alone."""
        for name in self._entries:
            if _KNOWN.fullmatch(name) is None:
                kind = next((kind for pattern, kind in _FOREIGN if pattern.fullmatch(name)), "nothing known here")
                raise self.refused(f"its entry {name!r} is {kind}")

    def check_sample_inputs(self) -> None:
        """Look through the pickles of the sample inputs, without loading them: they may name tensors only."""
        for name in self.names(r"data/sample_inputs/.*"):
            if content := self.read(name):
                inner = Archive(BytesIO(content), f"{self._shown}: {name}")
                for pickle in inner.names(r".*\.pkl"):
                    _check_pickle(inner, pickle)

    def _in_order(self, file_bytes: int) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        if len(infos) > MAX_ENTRIES:
            raise self.refused(f"it has more than {MAX_ENTRIES:,} entries")
        entries: dict[str, zipfile.ZipInfo] = {}
        roots: set[str] = set()
        for info in infos:
            path = info.filename.split("/")
            if info.filename != info.orig_filename or "\\" in info.filename or not {"", ".", ".."}.isdisjoint(path):
                raise self.refused(f"the entry {info.orig_filename!r} points out of it")
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise self.refused(
                    f"the entry {info.filename!r} is compressed or encrypted; torch stores entries as they are"
                )
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
                raise self.refused(f"the entry {info.filename!r} is no plain file")
            name = "/".join(path[1:])
            if name in entries:
                raise self.refused(f"it has the entry {name!r} twice")
            roots.add(path[0])
            entries[name] = info
        if sum(max(info.file_size, info.compress_size) for info in infos) > file_bytes:
            raise self.refused("its entries claim more bytes than the file has")
        if len(roots) > 1:
            raise self.refused(f"it has the folders {' and '.join(sorted(roots)[:2])} instead of one")
        return entries


def _check_pickle(archive: Archive, name: str) -> None:
    try:
        for code, argument, _ in pickletools.genops(archive.read(name)):
            if code.name in _NAMELESS or (code.name == "GLOBAL" and not _TENSOR_NAMES.fullmatch(str(argument))):
                what = f"{code.name} {argument}".removesuffix(" None")
                raise archive.refused(f"{name} does more than describe tensors ({what})")
    except ValueError as error:
        raise archive.broken(f"{name} is no pickle ({error})") from error
