//! `/metrics`: the server's own counts, for Prometheus.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering},
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::App;

/// What was counted since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Answers by status class, 1xx to 5xx.
    classes: [AtomicU64; 5],
}

impl Counts {
    pub(super) fn answered(&self, status: StatusCode) {
        if let Some(class) = self.classes.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// `GET /metrics`: text format 0.0.4.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, String)]| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    };
    let one = |value: String| vec![(String::new(), value)];
    let classes: Vec<(String, String)> = (1..)
        .zip(&app.counts.classes)
        .map(|(class, count)| (format!("{{class=\"{class}xx\"}}"), count.load(Ordering::Relaxed).to_string()))
        .collect();
    family("deliveryos_http_responses_total", "counter", "Answers of the server by status class.", &classes);
    family(
        "deliveryos_event_clients",
        "gauge",
        "Clients that follow /events now.",
        &one(app.hub.clients().to_string()),
    );
    family(
        "deliveryos_log_receipts",
        "gauge",
        "Durable receipts in the log.",
        &one(app.log.size().borrow().to_string()),
    );
    match app.read.overview().await {
        Ok(overview) => {
            let in_flight: Vec<(String, String)> = overview
                .in_flight
                .iter()
                .map(|row| {
                    (
                        format!("{{service=\"{}\",release=\"{}\"}}", row.service, row.id),
                        row.weight.percent().to_string(),
                    )
                })
                .collect();
            family(
                "deliveryos_release_weight_percent",
                "gauge",
                "Weight of each release under way, as last recorded.",
                &in_flight,
            );
            family(
                "deliveryos_releases_waiting",
                "gauge",
                "Releases that wait for a person.",
                &one(overview.waiting.len().to_string()),
            );
        }
        Err(error) => tracing::error!(%error, "the overview could not be read for /metrics"),
    }
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    family("deliveryos_build_info", "gauge", "Version of the program.", &[(version, "1".to_owned())]);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], out).into_response()
}
