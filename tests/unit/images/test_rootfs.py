from images.rootfs import installed_versions

STATUS = """\
Package: python3
Status: install ok installed
Version: 3.14.7-3
Description: interactive language
 Version: not this one

Package: removed
Status: deinstall ok config-files
Version: 1.0
"""


def test_versions_are_read_from_dpkgs_status_for_installed_packages_only() -> None:
    assert installed_versions(STATUS) == {"python3": "3.14.7-3"}
