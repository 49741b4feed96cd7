"""One file a metric; each yields records."""
