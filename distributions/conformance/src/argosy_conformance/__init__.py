"""A conformance kit for any Open Inference Protocol server: black-box checks, sharing no code with Argosy's server.

General checks use the model named by the user (or the first of the repository index) and make their input from its
metadata. Checks of every datatype look for models named `identity_<datatype>` (`identity_fp32`, `identity_bytes`, …)
with one input and one output equal to it, of shape [-1, -1]; `identity_<datatype>_0d`, `_1d` and `_3d` serve other
ranks. A model named `slow`, an identity that takes between 0.2 s and 5 s a call, serves the checks of deadlines. What
the server or its models do not permit is skipped with the reason, never passed.
"""

from argosy_conformance.report import Report, Result, render
from argosy_conformance.runner import run, select

__all__ = ["Report", "Result", "render", "run", "select"]
