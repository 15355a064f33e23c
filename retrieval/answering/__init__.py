"""From predictions and matches to a fix: how far it may be trusted, how fine it may be."""
