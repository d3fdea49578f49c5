"""Losses and label rules of the network families."""
