"""What GeoWarp learns from and by, and how it is kept."""
