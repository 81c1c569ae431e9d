"""Reports: which tables and figures, how they become text, pages and files, with sources."""
