"""The built-in profiler plugins, one module each; a module imports its runtime only when opened."""
