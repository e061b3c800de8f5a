"""The embedded scale: a made-up world of data and a tiny model that knows it."""
