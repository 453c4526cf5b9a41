"""Tables of the reference pages, made from the code that they describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reference import dicom, example_reports, reasons, structs, verbs

__all__ = ["TABLES"]

#: What a template may name, and what makes it.
TABLES: Mapping[str, Callable[[], str]] = {
    "analyze_exit_codes": verbs.analyze_exit_codes,
    "verb_links": verbs.verb_links,
    "verbs": verbs.all_verbs,
    "results": structs.results,
    "metrics": structs.metrics,
    "model_spec": structs.model_spec,
    "model_outputs": structs.model_outputs,
    "serve_settings": structs.serve_settings,
    "other_reasons": reasons.other_reasons,
    "image_reasons": reasons.image_reasons,
    "classes_read": dicom.classes_read,
    "limits_read": dicom.limits_read,
    "syntaxes_read": dicom.syntaxes_read,
    "classes_received": dicom.classes_received,
    "syntaxes_sent": dicom.syntaxes_sent,
    "classes_written": dicom.classes_written,
    "answers": dicom.answers,
    "regions": dicom.regions,
    "report_tree": example_reports.report_tree,
    "verified_tree": example_reports.verified_tree,
}
