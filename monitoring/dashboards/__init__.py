"""Grafana dashboards as code; `generated/` holds what `python -m monitoring.dashboards.build` makes of it."""
