"""What devices say of themselves: profiles and payloads that join those of replicas, and silence."""
