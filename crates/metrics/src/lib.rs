//! Metric sources over HTTP: Prometheus and web.
