"""Readers, labels and the memory-mapped store that training draws its slices from."""
