"""What a sweep will cost, before anything runs: ``python -m harness.plan``."""
