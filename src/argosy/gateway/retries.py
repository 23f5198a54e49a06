"""How a request is tried again."""

from argosy.gateway.xds import Resource, typed


def retry_policy(retries: int, *, grpc: bool) -> Resource:
    """Again, on another replica: when nothing was answered yet, or the replica said 503.

    The last answer is passed on as it is, so a replica's own 503 keeps its Retry-After.
    """
    conditions = ["connect-failure", "refused-stream", "reset", "retriable-status-codes"]
    return {
        "retry_on": ",".join([*conditions, "unavailable"] if grpc else conditions),
        "num_retries": retries,
        "retriable_status_codes": [503],
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": typed("envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"),
            }
        ],
        "host_selection_retry_max_attempts": "32",
        "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.100s"},
    }


def until_answered() -> Resource:
    """Again, at the same address, for some seconds: a waiting room that is started anew. Its answers are final."""
    return {
        "retry_on": "connect-failure,refused-stream,reset",
        "num_retries": 20,
        "retry_back_off": {"base_interval": "0.100s", "max_interval": "1s"},
    }
