"""Every choice a user can make, as Hydra groups."""
