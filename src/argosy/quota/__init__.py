"""The process that gives gateways leases of tokens, and reads in their access logs what was used."""
