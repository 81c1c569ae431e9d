"""From data to a checked network in a file: the programs, one after the other (`fofa run`)."""
