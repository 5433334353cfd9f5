"""What watches the platform: metrics, alerts, logs, traces, dashboards."""
