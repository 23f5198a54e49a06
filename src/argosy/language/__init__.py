"""One replica of a language model: the process beside its engine, on no request's path."""
