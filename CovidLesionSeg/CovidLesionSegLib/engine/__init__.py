"""The pipeline and its stages: numpy, scipy and SimpleITK; torch inside functions."""
