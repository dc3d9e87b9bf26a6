//! The log as files: `/checkpoint`, `/tile/…` (c2sp.org/tlog-tiles), and one receipt as a proof or an envelope.

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use receipt_log::tiles;
use tlog::TilePath;

use super::{App, asked::InPath};

/// `GET /checkpoint`.
pub(super) async fn checkpoint(State(app): State<App>) -> Response {
    match tiles::checkpoint(&*app.store).await {
        Ok(Some(note)) => bytes(note, "text/plain; charset=utf-8", "no-cache"),
        Ok(None) => missing(),
        Err(error) => failed(&error),
    }
}

/// `GET /tile/…`.
pub(super) async fn tile(State(app): State<App>, InPath(path): InPath<String>) -> Response {
    let Ok(path) = format!("tile/{path}").parse::<TilePath>() else { return missing() };
    match tiles::tile(&*app.store, path).await {
        Ok(Some(tile)) => bytes(tile, "application/octet-stream", caching(&app, path)),
        Ok(None) => missing(),
        Err(error) => failed(&error),
    }
}

/// How long a tile may be kept, and by whom. What is there never changes.
pub(super) fn caching(app: &App, path: TilePath) -> &'static str {
    let private = !app.log_is_public || matches!(path, TilePath::Entries(_));
    if private { "private, max-age=31536000, immutable" } else { "public, max-age=31536000, immutable" }
}

/// `GET /receipts/INDEX/tlog-proof`: c2sp.org/tlog-proof, for `deliveryos receipt verify`.
pub(super) async fn tlog_proof(State(app): State<App>, InPath(index): InPath<u64>) -> Response {
    match app.read.receipt(index).await {
        Ok(Some(proof)) => {
            let mut response = bytes(proof.tlog_proof.into_bytes(), "text/plain; charset=utf-8", "no-cache");
            attach(&mut response, &format!("receipt-{index}.tlog-proof"));
            response
        }
        Ok(None) => missing(),
        Err(error) => failed(&error),
    }
}

/// `GET /receipts/INDEX/dsse`: the entry's bytes as they stand in the log.
pub(super) async fn dsse(State(app): State<App>, InPath(index): InPath<u64>) -> Response {
    match app.read.receipt(index).await {
        Ok(Some(proof)) => match STANDARD.decode(proof.entry) {
            Ok(entry) => {
                let mut response = bytes(entry, "application/json", "private, max-age=31536000, immutable");
                attach(&mut response, &format!("receipt-{index}.dsse.json"));
                response
            }
            Err(error) => failed(&error),
        },
        Ok(None) => missing(),
        Err(error) => failed(&error),
    }
}

pub(super) fn bytes(body: Vec<u8>, media_type: &'static str, caching: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, caching)];
    (headers, body).into_response()
}

fn attach(response: &mut Response, name: &str) {
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, value);
    }
}

pub(super) fn missing() -> Response {
    (StatusCode::NOT_FOUND, "the log does not have this\n").into_response()
}

/// What exactly failed is for the server's own log.
pub(super) fn failed(error: &impl std::fmt::Display) -> Response {
    tracing::error!(%error, "the log could not be read");
    (StatusCode::SERVICE_UNAVAILABLE, "the log could not be read\n").into_response()
}
