"""Parametric heads: seeded, made from implicit surfaces and random fields by this package alone."""
