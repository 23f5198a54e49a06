"""Service level objectives as the platform keeps watch over them."""
