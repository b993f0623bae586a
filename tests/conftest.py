"""What all tests share: the marker of the long ones, and a compiler that hurries."""

import os

# Tests compile many small programs and run each a few times: compiling fast matters, running fast does not.
os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 " + os.environ.get("XLA_FLAGS", "")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: minutes rather than seconds; leave out with -m 'not slow'")
