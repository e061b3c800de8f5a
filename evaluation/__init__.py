"""The seven benchmarks of a run, each in its own folder, and what they stand on."""
