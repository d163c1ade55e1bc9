"""Which tokens a directory holds, and whom they let in."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import pytest

from model_server.errors import ModelError, Reason
from model_server.tokens import Tokens, read_token, read_tokens, token_files
from mounted import mount_secret

if TYPE_CHECKING:
    from pathlib import Path


def written(directory: Path, **files: str) -> Tokens:
    directory.mkdir()
    for name, value in files.items():
        (directory / name).write_text(value)
    return read_tokens(directory)


def status_of(tokens: Tokens, *values: bytes) -> int:
    refusal = tokens.refusal([(b"host", b"h"), *((b"authorization", value) for value in values)])
    return 200 if refusal is None else refusal.status


def test_each_file_is_a_token_without_the_end_of_its_line(tmp_path: Path) -> None:
    tokens = written(tmp_path / "t", old="abc.DEF-_~+/==\n", new="  1234  ")
    assert [tokens.knows(token) for token in (b"abc.DEF-_~+/==", b"1234", b"123", b"", b"1234 ")] == [
        *(True, True, False, False, False)
    ]
    assert tokens.told() == "2 bearer tokens"


def test_the_first_of_them_may_be_shown_to_another_server(tmp_path: Path) -> None:
    written(tmp_path / "t", a="two words", b="second", c="third\n")
    assert read_token(tmp_path / "t") == "second"


def test_a_file_without_a_token_lets_nobody_in_and_is_named(tmp_path: Path) -> None:
    tokens = written(tmp_path / "t", a="good", b="", c="two words", d="\u00fc", e="\n\n", f="a\x00b")
    assert tokens.told() == "1 bearer token; there is none in b, c, d, e, f"
    for token in (b"", b"two words", b"two", "\u00fc".encode(), b"a\x00b"):
        assert not tokens.knows(token)


@pytest.mark.parametrize("files", [{}, {"a": ""}, {"a": "no token"}])
def test_a_directory_without_any_token_is_no_open_door(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(ModelError) as refused:
        written(tmp_path / "t", **files)
    assert refused.value.reason is Reason.CONFIG_MISSING
    assert "spec.security.auth.tokensSecretRef" in refused.value.message
    with pytest.raises(ModelError):
        read_tokens(tmp_path / "missing")


def test_a_mounted_secret_is_read_as_one_version(tmp_path: Path) -> None:
    mount_secret(tmp_path / "t", {"a": "one", "b": "two"})
    assert [file.name for file in token_files(tmp_path / "t")] == ["a", "b"]
    (tmp_path / "t/..next").mkdir()
    (tmp_path / "t/..next/c").write_text("three")
    (tmp_path / "t/..data_tmp").symlink_to("..next")
    (tmp_path / "t/..data_tmp").rename(tmp_path / "t/..data")  # its links are still those of the version before
    tokens = read_tokens(tmp_path / "t")
    assert [tokens.knows(token) for token in (b"one", b"two", b"three")] == [False, False, True]


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ([b"Bearer right"], 200),
        ([b"bearer right"], 200),
        ([b"BEARER   right "], 200),
        ([], 401),
        ([b""], 401),
        ([b"right"], 401),
        ([b"Bearer"], 401),
        ([b"Bearer "], 401),
        ([b"Bearer righ"], 401),
        ([b"Bearer rightt"], 401),
        ([b"Bearer right right"], 401),
        ([b"Bearer wrong, Bearer right"], 401),
        ([b"Basic right"], 401),
        ([b"Bearer\tright"], 401),
        ([b"Bearer \xff"], 401),
        ([b"Bearer right", b"Bearer right"], 401),
        ([b"Bearer wrong", b"Bearer right"], 401),
    ],
)
def test_who_shows_one_known_token_is_let_in(tmp_path: Path, values: list[bytes], status: int) -> None:
    assert status_of(written(tmp_path / "t", a="right", b="other"), *values) == status


def test_a_refusal_says_what_is_asked_for_and_nothing_of_what_was_shown(tmp_path: Path) -> None:
    tokens = written(tmp_path / "t", a="right")
    nothing, wrong = tokens.refusal([]), tokens.refusal([(b"authorization", b"Bearer mistaken")])
    assert nothing is not None
    assert wrong is not None
    assert nothing.headers == ((b"www-authenticate", b"Bearer"),)
    assert wrong.headers == ((b"www-authenticate", b'Bearer error="invalid_token"'),)
    assert "mistaken" not in wrong.message
    assert "right" not in repr(tokens)


def test_a_guess_is_compared_with_every_token_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = written(tmp_path / "t", a="one", b="two", c="three")
    compared: list[tuple[int, int]] = []

    def compare(given: bytes, known: bytes) -> bool:
        compared.append((len(given), len(known)))
        return given == known

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for guess in (b"one", b"two", b"three", b"a guess that is much longer than any of them"):
        compared.clear()
        tokens.knows(guess)
        assert compared == [(32, 32)] * 3
