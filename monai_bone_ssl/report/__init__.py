"""Answers to DICOM objects: Structured Reports, Secondary Captures, Segmentations."""
