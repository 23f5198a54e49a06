"""Who signed a package, whether that counts here, and what it is made of: signatures, policy, bills of materials."""
