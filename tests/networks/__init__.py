"""Tests that run the real networks' packages on tiny models; they skip, saying so, where the packages are not installed."""
