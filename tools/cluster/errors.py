"""What the tool tells instead of a traceback: full sentences, and the exit code that goes with them."""


class ClusterError(Exception):
    """Something failed; the text says what, where, and what to do."""

    exit_code = 1


class MissingError(ClusterError):
    """This machine lacks something; nothing was started or changed."""

    exit_code = 2
