"""What is done once a trigger fires: noted, carried out, told."""
