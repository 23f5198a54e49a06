"""The platform of one home: up, down, detach, lease."""
