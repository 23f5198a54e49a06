"""Model packages: build, check, scan, load and verify them."""
