"""Qt and Slicer application: panel, review, state machine."""
