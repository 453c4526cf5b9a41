"""Programming errors are told without their messages."""

from __future__ import annotations

import pytest

from monai_bone_ssl.errors import ReasonCode, ReportError, UnsupportedImage
from monai_bone_ssl.faults import WithoutMessage

NAME = "Testperson^Anna"


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("kind", [KeyError, ValueError, OSError, AssertionError, RuntimeError])
def test_an_unforeseen_exception_keeps_its_type_and_place_only(kind: type[Exception]) -> None:
    with pytest.raises(ReportError) as caught, WithoutMessage():
        fail(kind(NAME))
    assert caught.value.code is ReasonCode.REPORT_FAILED
    assert caught.value.text.startswith(f"unforeseen {kind.__name__} in fail:")
    assert NAME not in caught.value.text
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "or a traceback would quote it"


@pytest.mark.parametrize(
    "error", [UnsupportedImage(ReasonCode.NOT_DICOM, "a.txt: no DICOM"), KeyboardInterrupt(), SystemExit(3)]
)
def test_errors_of_this_package_and_the_end_of_the_program_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, WithoutMessage():
        fail(error)
    assert caught.value is error


def test_a_block_that_ends_well_ends_well() -> None:
    with WithoutMessage():
        value = 1
    assert value == 1
