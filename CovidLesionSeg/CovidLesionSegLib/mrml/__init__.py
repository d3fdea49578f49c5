"""MRML and VTK without Qt: results as nodes of a scene.

The same functions fill the scene file of the command line and the scene of 3D Slicer; their
names follow Slicer's style. Importing a module of this package needs ``slicer`` and ``vtk``,
except `scene_file` and `scene_format`, which start them in a process of their own, and
`surface_models`, which imports VTK when it is used.
"""
