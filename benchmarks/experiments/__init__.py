"""Small experiments that show why the method is as it is."""
