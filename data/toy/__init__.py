"""A made-up town, SYNTHETIC: places and photographs whose truth is known to the centimetre."""
