"""Keeps payloads: requests and answers as Parquet that any DuckDB, Polars or Spark reads."""
