"""Run the application with a programming error, or a library's warning, that quotes a patient's name.

The first argument says where: the name of what is replaced.
"""

from __future__ import annotations

import logging
import sys
import warnings
from typing import NoReturn

import app
import operators

NAME = "Planted^Patientname"


def fail(*_: object, **__: object) -> NoReturn:
    raise KeyError(NAME)


def warn(files: object) -> object:
    """What pydicom says of a value it does not like."""
    warnings.warn(f"Invalid value for VR PN: '{NAME}'", stacklevel=1)
    logging.getLogger("pydicom").warning("Invalid value for VR PN: '%s'", NAME)
    return honest(files)


honest = operators.group_by_study
where = sys.argv[1]
if where == "a_library":
    operators.group_by_study = warn
else:
    setattr(app if hasattr(app, where) else operators, where, fail)
sys.exit(app.main(sys.argv[2:]))
