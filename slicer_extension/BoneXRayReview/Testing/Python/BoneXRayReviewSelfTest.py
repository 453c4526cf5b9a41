"""Self-test of the module, in the application: reads, saves, restores. Makes its own images.

Run it in 3D Slicer with "Reload and Test" of the module, or by ctest.
"""
# ruff: noqa: PT009 - the application runs unittest, not pytest

from __future__ import annotations

import shutil
import tempfile
import unittest
from pathlib import Path

import numpy as np
import slicer
import slicer.util
from pydicom import Dataset, FileMetaDataset, dcmwrite
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

SIDE = 200
STUDIES = 3


def write_image(path: Path, number: int, photometric: str) -> None:
    """Write a radiograph that is bright in its top left corner, whatever the interpretation."""
    shown = np.tile(np.linspace(500, 2500, SIDE), (SIDE, 1))
    shown[20:60, 20:60] = 4000
    stored = 4095 - shown if photometric == "MONOCHROME1" else shown
    image = Dataset()
    image.SOPClassUID = ComputedRadiographyImageStorage
    image.SOPInstanceUID, image.StudyInstanceUID, image.SeriesInstanceUID = (generate_uid() for _ in range(3))
    image.PatientName, image.PatientID = f"Selftest^{number}", f"SELFTEST-{number}"
    image.PatientBirthDate = image.PatientSex = image.StudyDate = image.StudyTime = ""
    image.AccessionNumber = image.StudyID = image.ReferringPhysicianName = ""
    image.Modality, image.BodyPartExamined, image.SeriesNumber, image.InstanceNumber = "CR", "HAND", 1, 1
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, photometric
    image.Rows = image.Columns = SIDE
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.ImagerPixelSpacing = [0.2, 0.2]
    image.PixelData = stored.astype("<u2").tobytes()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dcmwrite(path, image, enforce_file_format=True)


class BoneXRayReviewSelfTest(unittest.TestCase):
    """Drives the module's panel as a reader does."""

    def setUp(self) -> None:
        """Make three images, and open the module on an empty scene."""
        slicer.mrmlScene.Clear(0)
        self.folder = Path(tempfile.mkdtemp(prefix="BoneXRayReviewSelfTest", dir=slicer.app.temporaryPath))
        self.images = self.folder / "images"
        self.images.mkdir()
        for number in range(STUDIES):
            photometric = "MONOCHROME1" if number == 0 else "MONOCHROME2"
            write_image(self.images / f"{number}.dcm", number, photometric)
        slicer.util.selectModule("BoneXRayReview")
        self.panel = slicer.util.getModuleWidget("BoneXRayReview")

    def tearDown(self) -> None:
        """Close the review and remove the images."""
        self.panel.close_review()
        slicer.mrmlScene.Clear(0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, reader: str = "Self^Test", blinded: bool = False) -> None:
        """Fill in the panel and start."""
        ui = self.panel.ui
        ui.sourceComboBox.currentIndex = 1
        ui.inputPath.currentPath = str(self.images)
        ui.sessionPath.currentPath = str(self.folder / "review")
        ui.useModelCheckBox.checked = False
        ui.readerEdit.text = reader
        ui.blindedCheckBox.checked = blinded
        ui.startButton.click()
        self.assertIsNotNone(self.panel.review, ui.sessionMessage.text)

    def test_images_are_shown_upright_and_not_inverted(self) -> None:
        """The bright square is in the first rows and columns, bright in both interpretations."""
        self.start()
        for _ in range(STUDIES):
            node = self.panel.viewer.radiograph
            values = slicer.util.arrayFromVolume(node)[0].astype(float)
            self.assertEqual(values.shape, (SIDE, SIDE))
            level = node.GetDisplayNode().GetLevel()
            self.assertGreater(values[40, 40], level)
            self.assertLess(values[40, 5], level)
            self.assertAlmostEqual(node.GetSpacing()[0], 0.2)
            view = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
            self.assertEqual(view.GetOrientation(), "Axial")
            self.panel.step(1)

    def test_reading_saving_and_resuming(self) -> None:
        """Three verdicts, then the same review again."""
        self.start()
        for _ in range(STUDIES):
            self.panel.ui.normalButton.click()
            self.panel.ui.saveNextButton.click()
        self.assertEqual(self.panel.ui.progressLabel.text, f"{STUDIES} of {STUDIES} read")
        self.panel.close_review()
        self.start()
        self.assertEqual(self.panel.ui.progressLabel.text, f"{STUDIES} of {STUDIES} read")
        self.assertTrue(self.panel.ui.normalButton.checked)

    def test_a_ruler_measures_millimetres(self) -> None:
        """50 columns of 0.2 mm are 10 mm."""
        self.start()
        self.panel.viewer.place("ruler")
        ruler = self.panel.viewer.markups.nodes()[0]
        ruler.AddControlPoint(0.0, -2.0, 0.0)
        ruler.AddControlPoint(-10.0, -2.0, 0.0)
        location = self.panel.controller.draft.locations[0]
        self.assertAlmostEqual(location.length_mm, 10.0, places=3)
        self.assertAlmostEqual(location.points[1][1], 50.0, places=3)

    def test_blinded_review_hides_the_result(self) -> None:
        """Before the first reading and after it."""
        self.start(blinded=True)
        self.assertIn("hidden", self.panel.ui.resultLabel.text)
        self.panel.ui.abnormalButton.click()
        self.panel.ui.revealButton.click()
        self.assertNotIn("hidden", self.panel.ui.resultLabel.text)

    def test_closing_the_scene_saves(self) -> None:
        """The verdict is there when the review is opened again."""
        self.start()
        self.panel.ui.uncertainButton.click()
        slicer.mrmlScene.Clear(0)
        self.assertIsNone(self.panel.review)
        self.start()
        self.assertTrue(self.panel.ui.uncertainButton.checked)


if __name__ == "__main__":
    unittest.main()
