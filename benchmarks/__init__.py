"""How fast and how right fofa is; not installed. See CONTRIBUTING.md."""
