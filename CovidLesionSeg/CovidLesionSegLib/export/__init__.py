"""What leaves the module: files, DICOM, reports."""
