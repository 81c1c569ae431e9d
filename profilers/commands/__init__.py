"""The command line of the package: `fofa-profile`."""
