"""Photos as files: formats, which way up, EXIF, what else is known of each."""
