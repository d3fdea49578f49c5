"""Ground glass and consolidation: what tells them apart, measured against experts' slices."""
