"""The online mode: one replica, one data plane, thin transports over it."""
