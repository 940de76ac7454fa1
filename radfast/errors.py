"""Errors that a user can act on. Each carries the exit code the command line ends with."""

from __future__ import annotations


class RadfastError(Exception):
    """Base of all errors meant for users: one clear line, never patient data."""

    exit_code = 1


class UsageError(RadfastError):
    """A wrong path, option, column name or configuration key."""

    exit_code = 2


class InputError(UsageError, ValueError):
    """An array or parameter that a function cannot take; a ValueError, as scikit-learn's tools expect."""


class NothingFoundError(RadfastError):
    """The input holds nothing to work on: no DICOM file, no report, no matching study."""

    exit_code = 3


class CannotWriteError(RadfastError):
    """The output folder cannot be written."""

    exit_code = 5
