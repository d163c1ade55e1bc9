"""`model.sig`: who vouches for a model directory. The format and the library are OpenSSF's, the key is an elliptic one.

The signature is over every file but itself. Nothing is asked of the network, and no log has to have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model_server.errors import ModelError, Reason, first_line
from model_server.extras import need
from model_server.tokens import token_files

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE = "model.sig"
_LIBRARY = "model_signing"
_TAMPERED = "Signature mismatch"  # what the library begins with when the key is right and the content is not


def sign(directory: Path, key: Path) -> None:
    """Write the signature, in place of one that may be there."""
    library = _library("Signing")
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
    library = _library("Checking a signature")
    signature = directory.absolute() / SIGNATURE
    if not signature.is_file():
        message = f"{directory} is not signed: it lacks {SIGNATURE}; model-server package --sign-key writes it."
        raise ModelError(Reason.INVALID, message)
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
                message = f"{directory} was signed with {key.name}, but its files are not those that were signed."
                raise ModelError(Reason.INVALID, message) from error
            said.append(f"{key.name}: {first_line(error)}")
        else:
            return key.name
    message = f"{directory} is signed by nobody who is trusted ({'; '.join(said)})."
    raise ModelError(Reason.INVALID, message)


def _library(what: str) -> Any:  # noqa: ANN401  # a module
    return need(_LIBRARY, extra="sign", what=what)


def _hashing(library: Any, signature: Path) -> Any:  # noqa: ANN401
    """Leave out nothing but the signature; by default the library overlooks what belongs to git."""
    return library.hashing.Config().set_ignored_paths(paths=[signature], ignore_git_paths=False)


def _verifier(library: Any, key: Path) -> Any:  # noqa: ANN401
    try:
        return library.verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (OSError, ValueError) as error:
        raise ModelError(Reason.INVALID, f"{key} is not a public key in PEM: {first_line(error)}.") from error
