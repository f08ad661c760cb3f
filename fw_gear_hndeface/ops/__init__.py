"""Mask and surface operations in mm on grids of any orientation; numpy, scipy, SimpleITK and scikit-image only."""
