"""Stand-ins for what slicer-core lacks: widgets as PythonQt shows them, the application, module base classes.

Everything below the widgets is real: MRML, logics, displayable managers, and slicer.util. The stand-ins are
strict: a property, method, signal or widget name that does not exist raises, as a test of a window must.
"""
