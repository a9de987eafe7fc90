"""Errors that a user can act on: one clear line and an exit code of their own."""


class Note(UserWarning):
    """Something a user should know that stops nothing; the command prints it as one line."""


class KdbenchError(Exception):
    """Something the user can mend; its message says what, where and what to do."""

    exit_code = 1


class UsageError(KdbenchError):
    """A wrong name, option or value on the command line or in a configuration file."""

    exit_code = 2


class NotApplicable(KdbenchError):
    """A method asked for on a detector that lacks what the method needs."""

    exit_code = 3


class DataError(KdbenchError):
    """A missing or damaged file of a data set; the message names the file."""

    exit_code = 4


class TrainingDiverged(KdbenchError):
    """A loss became NaN or infinite; the message names the step and the frames."""

    exit_code = 5
