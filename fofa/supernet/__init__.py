"""The weight-sharing network and the plain networks that come out of it."""
