"""What is declared, and the loop that makes it so. Never on the path of a request."""
