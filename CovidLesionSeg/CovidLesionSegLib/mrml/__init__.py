"""MRML and VTK without Qt: volumes, segmentations, tables and scenes."""
