"""Reports: captions, sources, and how tables and figures become files."""
