"""Catalogue, digests, store and import of weights; no network access."""
