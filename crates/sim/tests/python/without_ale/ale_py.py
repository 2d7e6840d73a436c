"""As if it were not installed."""

raise ModuleNotFoundError("No module named 'ale_py'", name="ale_py")
