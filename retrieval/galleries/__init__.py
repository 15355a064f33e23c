"""What a gallery consists of on disk beside its descriptors."""
