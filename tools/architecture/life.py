"""The life of an image: the functions it passes, what leaves each of them, and where it may be refused."""

from __future__ import annotations

from dataclasses import dataclass

from architecture.svg import LINE, Drawing

__all__ = ["CALLERS", "STEPS", "Step", "draw_life"]


@dataclass(frozen=True)
class Step:
    """One function that an image passes."""

    function: str
    """Name of the function, from the package's root on."""
    does: str
    """What happens to the image."""
    leaves: str
    """What the function returns or writes."""
    refusals: tuple[str, ...] = ()
    """Reason codes, as result.json has them, that may end the image's life here."""


STEPS = (
    Step(
        "dicom.collect.find_files",
        "find the files, each once",
        "paths",
        ("unreadable_file", "directory_loop", "duplicate_instance"),
    ),
    Step(
        "dicom.collect.group_by_study",
        "read the headers, group files into studies",
        "studies of one patient each",
        (
            *("not_dicom", "truncated_file", "invalid_header", "undecodable_identity"),
            *("conflicting_patient", "conflicting_instance"),
        ),
    ),
    Step(
        "dicom.radiograph.read_radiograph",
        "decode the pixels, show them as a viewer does",
        "pixels [H, W] from 0 to 1, bright = dense; header",
        (
            *("unsupported_sop_class", "not_for_presentation", "multi_frame", "colour", "missing_identifier"),
            *("image_too_small", "too_large", "decode_failed"),
            *("missing_pixel_data", "unsupported_transfer_syntax"),
        ),
    ),
    Step(
        "model.eligibility.tagged_body_part",
        "look up the header's body part",
        "body part, where the header names one",
        ("body_part_not_covered",),
    ),
    Step(
        "model.preprocessing.preprocess",
        "resample, stretch the contrast",
        "network input [1, 1, H', W']",
        ("blank_image",),
    ),
    Step(
        "model.inference.Model.predict",
        "run the network (onnxruntime)",
        "logit, patch scores [h, w], body-part logits, distance",
        ("inference_failed",),
    ),
    Step(
        "model.eligibility.check_eligibility",
        "ask whether the model was made for the image",
        "body part and its two operating points",
        ("out_of_distribution", "body_part_conflict", "body_part_uncertain"),
    ),
    Step(
        "model.answer.Answer.of",
        "calibrate, decide, find the regions",
        "answer: probability, decision, evidence, regions",
    ),
    Step("show.overlay.draw_overlay", "draw the picture", "overlay_*.png"),
    Step("findings.study_finding", "take the study's most severe image", "decision for the study"),
    Step("report.study.study_report", "make the Structured Report", "SR_*.dcm", ("report_failed",)),
    Step("show.page.write_page", "make the page", "index.html"),
    Step("show.results.result_json", "write everything for programs", "result.json"),
)

#: Functions that call steps: their names, and the first and the last step that each calls.
CALLERS = (
    ("analysis.analyse_file", "dicom.radiograph.read_radiograph", "model.answer.Answer.of"),
    ("shown_image.show_image", "dicom.radiograph.read_radiograph", "show.overlay.draw_overlay"),
    ("pipeline.analyse", "dicom.collect.find_files", "show.results.result_json"),
)

_MARGIN, _CALLER, _BOX, _HEIGHT, _GAP, _REFUSALS = 16, 30, 384, 54, 34, 364
_PER_LINE = 46


def draw_life() -> str:
    """Draw the figure as an SVG: callers to the left, steps in the middle, reason codes to the right."""
    left = _MARGIN + _CALLER * len(CALLERS)
    tops = {step.function: _MARGIN + LINE + number * (_HEIGHT + _GAP) for number, step in enumerate(STEPS)}
    height = _MARGIN + LINE + len(STEPS) * (_HEIGHT + _GAP) + _MARGIN
    drawing = Drawing(
        left + _BOX + _REFUSALS + _MARGIN, height, "The life of an image, from its file to its report"
    )
    drawing.text(left + _BOX + 32, _MARGIN + 4, "may end here, with this reason code:")
    for step in STEPS:
        _draw_step(drawing, step, left, tops[step.function])
    for number, (caller, first, last) in enumerate(CALLERS, start=1):
        x, top, bottom = left - _CALLER * number + 14, tops[first], tops[last] + _HEIGHT
        drawing.path(f"M{x + 8:g},{top:g} H{x:g} V{bottom:g} H{x + 8:g}", "bracket")
        drawing.upwards(x - 6, (top + bottom) / 2, caller, "code")
    return drawing.render()


def _draw_step(drawing: Drawing, step: Step, left: float, top: float) -> None:
    drawing.box(left, top, _BOX, _HEIGHT)
    drawing.text(left + 12, top + 22, step.does, "strong")
    drawing.text(left + 12, top + 42, step.function, "code")
    drawing.path(f"M{left + 20:g},{top + _HEIGHT:g} v{_GAP:g}", "line")
    drawing.text(left + 34, top + _HEIGHT + 21, step.leaves)
    if step.refusals:
        drawing.path(f"M{left + _BOX:g},{top + 18:g} h24", "line")
        for number, line in enumerate(_lines(step.refusals)):
            drawing.text(left + _BOX + 32, top + 22 + number * LINE, line, "code")


def _lines(codes: tuple[str, ...]) -> list[str]:
    """Codes in as few lines as they fit into."""
    lines = [codes[0]]
    for code in codes[1:]:
        if len(lines[-1]) + len(code) > _PER_LINE:
            lines.append(code)
        else:
            lines[-1] += f", {code}"
    return lines
