"""What `scripts/bench` measures, one part per file: the floor, methods beside published ones, growth, and batches."""
