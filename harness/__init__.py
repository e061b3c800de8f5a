"""The stages of a run and what they stand on. See ARCHITECTURE.md for the rooms of the house."""
