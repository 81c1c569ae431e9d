"""A table written as Markdown, CSV, LaTeX, or on the screen; JSON is the model's own."""
