import pytest

from images import recipe

PYTHON = "/usr/lib/python3/dist-packages"


@pytest.mark.parametrize(
    ("path", "fate"),
    [
        ("/usr/share/doc/bash/README.gz", "left out"),
        ("/usr/share/doc/bash/copyright", "kept"),
        ("/usr/include/torch/csrc/api/include/torch/all.h", "left out"),
        (f"{PYTHON}/torch/bin/test_jit", "left out"),
        (f"{PYTHON}/torch/bin/torch_shm_manager", "kept"),
        (f"{PYTHON}/torch/nn/modules/linear.py", "kept"),
        ("/usr/lib/x86_64-linux-gnu/libLLVM.so.21.1", "left out"),
        ("/usr/lib/x86_64-linux-gnu/libz3.so.4", "kept"),
    ],
)
def test_the_last_pattern_that_matches_decides_what_is_left_out(path: str, fate: str) -> None:
    assert recipe.is_left_out(path) is (fate == "left out")


def test_dpkg_is_told_the_same_patterns_in_the_same_order() -> None:
    lines = [line for line in recipe.dpkg_configuration().splitlines() if line.startswith("path-")]
    assert len(lines) == len(recipe.LEFT_OUT)
    assert lines[:2] == ["path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright"]


def test_what_apt_leaves_behind_is_not_part_of_a_layer() -> None:
    assert recipe.is_leftover("/var/cache/apt/archives/python3.deb")
    assert not recipe.is_leftover("/var/lib/dpkg/status")


def test_a_base_has_another_name_for_another_release_or_another_list_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = {recipe.python_base(release).tag for release in recipe.RELEASES}
    monkeypatch.setattr(recipe, "LEFT_OUT", recipe.LEFT_OUT[:-1])
    tags |= {recipe.python_base(release).tag for release in recipe.RELEASES}
    assert len(tags) == 2 * len(recipe.RELEASES)


def test_torch_stands_on_the_python_base_of_its_release_and_changes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe.torch_base("forky")
    assert before.dockerfile.startswith(f"FROM {recipe.python_base('forky').tag}\n")
    monkeypatch.setattr(recipe, "PYTHON_PACKAGES", (*recipe.PYTHON_PACKAGES, "tini"))
    assert recipe.torch_base("forky").tag != before.tag
