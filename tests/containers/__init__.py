"""Tests that run the built image as the platform does; they skip, saying so, where `make containers` has not built one."""
