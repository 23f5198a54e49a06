"""The child process of `test_child.py`: it runs functions of the tests as those of ours are run."""

import os

from argosy.process import child

if __name__ == "__main__":
    child.PACKAGE = "tests"
    os._exit(child.main())
