"""`model.sig`: who vouches for a model directory. The format and the library are OpenSSF's, the key is an elliptic one.

The signature is over every file but itself. Nothing is asked of the network, and no log has to have it.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from model_server.artefact.digest import files_of
from model_server.errors import ModelError, Reason, first_line
from model_server.tokens import token_files

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = "model.sig"
# What the library begins with when the key is right and the content is not, and when another key was used.
_TAMPERED, _OTHER_KEY = "Signature mismatch", "Key mismatch"


def sign(directory: Path, key: Path) -> None:
    """Write the signature, in place of one that may be there."""
    library = _library()
    signature = directory.absolute() / SIGNATURE
    signature.unlink(missing_ok=True)
    try:
        signer = library.signing.Config().use_elliptic_key_signer(private_key=key)
    except (OSError, ValueError, TypeError) as error:
        how = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 makes one"
        raise ModelError(
            Reason.INVALID, f"{key} holds no private key to sign with: {first_line(error)}; {how}."
        ) from error
    signer.set_hashing_config(_hashing(library, signature)).sign(directory.absolute(), signature)


def hold_signature(directory: Path, trusted_keys: Path) -> str:
    """Return the name of the trusted key that has signed the directory as it is, or refuse it."""
    library = _library()
    signature = directory.absolute() / SIGNATURE
    if not signature.is_file():
        message = f"The model is not signed: it lacks {SIGNATURE}; model-server package --sign-key writes it."
        raise ModelError(Reason.NOT_TRUSTED, message)
    keys = [file for file in token_files(trusted_keys) if file.is_file()]
    if not keys:
        raise ModelError(Reason.CONFIG_MISSING, f"There is no public key in {trusted_keys} (--trusted-keys).")
    said = []
    for key in keys:
        verifier = _verifier(library, key).set_hashing_config(_hashing(library, signature))
        try:
            verifier.verify(directory.absolute(), signature)
        except Exception as error:
            # a signature that is broken has many ways to fail: as JSON, as base64, as a bundle, as a number
            if str(error).startswith(_TAMPERED):
                harms = "; ".join(_harms(directory, signature)) or "its files are not those that were signed"
                message = f"The model was signed with {key.name}, but is not what was signed: {harms}."
                raise ModelError(Reason.NOT_TRUSTED, message) from error
            if not str(error).startswith(_OTHER_KEY):
                said.append(f"{key.name}: {first_line(error)}")
        else:
            return key.name
    if said:
        raise ModelError(Reason.NOT_TRUSTED, f"The signature of the model, {SIGNATURE}, is wrong ({'; '.join(said)}).")
    trusted = ", ".join(key.name for key in keys)
    raise ModelError(Reason.NOT_TRUSTED, f"The model is signed with a key that is not trusted; trusted are: {trusted}.")


def _harms(directory: Path, signature: Path) -> Iterator[str]:
    """Say what became of files since they were signed, by the list in a signature that is known to be right."""
    statement = json.loads(base64.b64decode(json.loads(signature.read_bytes())["dsseEnvelope"]["payload"]))["predicate"]
    if statement["serialization"]["method"] != "files":
        return  # other tools may sign big files in pieces
    signed = {part["name"]: part["digest"] for part in statement["resources"]}
    there = {name: path for name, path in files_of(directory).items() if name != SIGNATURE}
    for name in sorted(signed.keys() | there.keys()):
        if name not in there:
            yield f"{name} is missing"
        elif name not in signed:
            yield f"{name} has come in addition"
        elif _sha256(there[name]) != signed[name]:
            yield f"{name} {'is cut off' if _is_cut(there[name]) else 'has changed'}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Tensor(msgspec.Struct):
    """An entry in the head of a safetensors file; that of its metadata has no bytes."""

    data_offsets: tuple[int, int] = (0, 0)


def _is_cut(path: Path) -> bool:
    """Tell whether a safetensors file ends before the tensors that its head announces."""
    if path.suffix != ".safetensors":
        return False
    size = path.stat().st_size
    with path.open("rb") as file:
        data = 8 + int.from_bytes(file.read(8), "little")
        if size < data:
            return True
        try:
            head = msgspec.json.decode(file.read(data - 8), type=dict[str, _Tensor])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False
    return size < data + max((each.data_offsets[1] for each in head.values()), default=0)


@contextmanager
def keys_in_files(keys: str) -> Iterator[Path]:
    """Lend a directory of the keys that a JSON object has by their names."""
    with tempfile.TemporaryDirectory() as directory:
        for name, key in json.loads(keys).items():
            Path(directory, name).write_text(key, encoding="ascii")
        yield Path(directory)


def _library() -> Any:  # noqa: ANN401  # a module
    """Import it late: it takes half a second, and most commands check no signature."""
    return importlib.import_module("model_signing")


def _hashing(library: Any, signature: Path) -> Any:  # noqa: ANN401
    """Leave out nothing but the signature; by default the library overlooks what belongs to git."""
    return library.hashing.Config().set_ignored_paths(paths=[signature], ignore_git_paths=False)


def _verifier(library: Any, key: Path) -> Any:  # noqa: ANN401
    try:
        return library.verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (OSError, ValueError) as error:
        raise ModelError(Reason.INVALID, f"{key} is not a public key in PEM: {first_line(error)}.") from error
