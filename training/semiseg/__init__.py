"""The COVID-SemiSeg track: single 8-bit slices, the benchmark of the Inf-Net papers.

Networks trained here are for comparison with published tables. They have seen lung-cropped
pictures turned by 90 degrees and are not for clinical volumes.
"""
