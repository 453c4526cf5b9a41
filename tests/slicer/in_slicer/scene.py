"""A MRML scene with one slice view, as the application sets it up, and a picture to show in it."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

SIDE = 240

# Logics that the scene needs and that nothing in it holds: without its colour logic it has no colours.
_alive: list[Any] = []
_cache = tempfile.TemporaryDirectory(prefix="slicer-cache-")


def new_scene() -> slicer.vtkSlicerApplicationLogic:
    """Make an empty scene ``slicer.mrmlScene`` with a Red slice view and colour nodes; return its logic."""
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    colours = slicer.vtkMRMLColorLogic()
    colours.SetMRMLScene(scene)
    colours.AddDefaultColorNodes()
    application.SetModuleLogic("Colors", colours)
    markups = slicer.vtkSlicerMarkupsLogic()
    markups.SetMRMLApplicationLogic(application)
    markups.SetMRMLScene(scene)
    application.SetModuleLogic("Markups", markups)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    for class_name in ("vtkMRMLSelectionNode", "vtkMRMLInteractionNode"):
        if scene.GetNumberOfNodesByClass(class_name) == 0:
            scene.AddNode(getattr(slicer, class_name)())
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(scene)
    logic.AddSliceNode("Red")
    application.GetSliceLogics().AddItem(logic)
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(_cache.name)  # an empty one: it reads whatever is in it
    cache.SetMRMLScene(scene)
    scene.SetCacheManager(cache)
    manager = slicer.vtkDataIOManager()
    manager.SetCacheManager(cache)
    scene.SetDataIOManager(manager)
    _alive[:] = [application, colours, markups, logic, cache, manager]
    return application


def render(application: slicer.vtkSlicerApplicationLogic, side: int = 480) -> NDArray[np.uint8]:
    """The Red slice view as [side, side, 3], first row on top."""
    slice_node = slicer.mrmlScene.GetNodeByID("vtkMRMLSliceNodeRed")
    logic = application.GetSliceLogic(slice_node)
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(side, side)
    renderer = vtk.vtkRenderer()
    window.AddRenderer(renderer)
    interactor = vtk.vtkRenderWindowInteractor()
    interactor.SetRenderWindow(window)
    slice_node.SetDimensions(side, side, 1)
    logic.FitSliceToAll()
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(application)
    for name in (
        "vtkMRMLVolumeGlyphSliceDisplayableManager",
        "vtkMRMLModelSliceDisplayableManager",
        "vtkMRMLMarkupsDisplayableManager",
    ):
        if not factory.IsDisplayableManagerRegistered(name):
            factory.RegisterDisplayableManager(name)
    group = factory.InstantiateDisplayableManagers(renderer)
    group.SetMRMLDisplayableNode(slice_node)
    # The application draws the blended slice as a two-dimensional image behind everything else.
    mapper = vtk.vtkImageMapper()
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    connection = logic.GetImageDataConnection()
    if connection is None:  # nothing is shown
        return np.zeros((side, side, 3), np.uint8)
    mapper.SetInputConnection(connection)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetDisplayLocationToBackground()
    renderer.AddViewProp(actor)
    window.Render()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(window)
    grabber.ReadFrontBufferOff()
    grabber.Update()
    image = grabber.GetOutput()
    columns, rows, _ = image.GetDimensions()
    pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, 3)[::-1].copy()
    group.SetMRMLDisplayableNode(None)
    window.Finalize()
    return pixels


def marked_picture(side: int = SIDE) -> NDArray[np.uint16]:
    """[side, side]: a ramp, an R in the top left corner, a bar along the bottom."""
    picture = np.tile(np.linspace(400, 2400, side), (side, 1))
    letter = ["1111", "1001", "1111", "1010", "1001"]
    for row, line in enumerate(letter):
        for column, dot in enumerate(line):
            if dot == "1":
                picture[20 + 8 * row : 28 + 8 * row, 20 + 8 * column : 28 + 8 * column] = 4095
    picture[-12:] = 0
    return picture.astype(np.uint16)
