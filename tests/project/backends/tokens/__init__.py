"""Connects with a token that is made for each connection, as to a cloud's servers."""
