//! `/rekor`: the log of signatures, by Rekor v2's write API and as c2sp.org/tlog-tiles.
//!
//! Refusals have the form of Rekor's own: `{"code": GRPC-CODE, "message": TEXT, "details": []}`.

use access::Identity;
use attest::log_entry;
use axum::{
    Extension, Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use rekor::{AppendError, tiles};
use serde_json::json;
use tlog::TilePath;

use super::{App, log_files};

/// Why not. gRPC's codes: 3 invalid argument, 8 resource exhausted, 14 unavailable.
pub(super) struct Problem(StatusCode, u8, String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "code": self.1, "message": self.2, "details": [] });
        (self.0, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
    }
}

/// Whether this address is one of Rekor's API, whose clients read refusals in its form alone.
pub(crate) fn is_api(path: &str) -> bool {
    path.starts_with("/rekor/api/")
}

/// A refusal of whoever asks, before what is asked is read: 16 unauthenticated, 7 permission denied.
pub(crate) fn denied(status: StatusCode, why: String) -> Response {
    let code = match status {
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::TOO_MANY_REQUESTS => 8,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        _ => 3,
    };
    Problem(status, code, why).into_response()
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge(_) => Self(StatusCode::BAD_REQUEST, 3, error.to_string()),
            AppendError::Busy(_) => Self(StatusCode::TOO_MANY_REQUESTS, 8, error.to_string()),
            // Safe to be told, and what to do about it is to hand the same in again.
            AppendError::NotNoted { index, ref why } => {
                tracing::error!(index, why, "an entry of the signature log is not noted yet");
                let said = format!("entry {index} stands, but no receipt notes it yet: hand the same in again");
                Self(StatusCode::SERVICE_UNAVAILABLE, 14, said)
            }
            AppendError::Signing(_) | AppendError::Unreadable(_) | AppendError::Stopped(_) => {
                tracing::error!(%error, "an entry could not be appended to the signature log");
                let said = "the entry could not be appended: see the server's log".to_owned();
                Self(StatusCode::SERVICE_UNAVAILABLE, 14, said)
            }
        }
    }
}

/// `POST /rekor/api/v2/log/entries`: verified, logged, noted by a receipt, and answered with its proof.
pub(super) async fn append(
    State(app): State<App>,
    Extension(who): Extension<Identity>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|rejection| Problem(rejection.status(), 3, rejection.body_text()))?;
    let entry = log_entry(&body).map_err(|error| Problem(StatusCode::BAD_REQUEST, 3, error.to_string()))?;
    let logged = app.signatures.append(entry, who.actor, app.clock.now()).await?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(logged.to_json())).into_response())
}

/// `GET /rekor/checkpoint`.
pub(super) async fn checkpoint(State(app): State<App>) -> Response {
    match tiles::checkpoint(&**app.signatures.store()).await {
        Ok(Some(note)) => log_files::bytes(note, "text/plain; charset=utf-8", "no-cache"),
        Ok(None) => log_files::missing(),
        Err(error) => log_files::failed(&error),
    }
}

/// `GET /rekor/tile/…`.
pub(super) async fn tile(State(app): State<App>, Path(path): Path<String>) -> Response {
    let Ok(path) = format!("tile/{path}").parse::<TilePath>() else { return log_files::missing() };
    match tiles::tile(&**app.signatures.store(), path).await {
        Ok(Some(tile)) => log_files::bytes(tile, "application/octet-stream", log_files::caching(&app, path)),
        Ok(None) => log_files::missing(),
        Err(error) => log_files::failed(&error),
    }
}

/// `GET /rekor/trusted_root.json`: by what verifiers believe this log.
pub(super) async fn trusted_root(State(app): State<App>) -> Response {
    ([(header::CACHE_CONTROL, "no-cache")], Json(app.signatures.trusted_root())).into_response()
}
