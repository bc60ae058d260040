"""The tests of sessioncore; see CONTRIBUTING.md."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# The same examples each time, on a busy machine too: no test judges how long something takes.
settings.register_profile(
    "sessioncore", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("sessioncore")
