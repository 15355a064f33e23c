"""How place recognition is tested: search, ways of asking, reports, pictures."""
