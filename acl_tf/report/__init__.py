"""From run folders to one HTML page: one file a section."""
