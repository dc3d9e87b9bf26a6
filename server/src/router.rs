//! Every route with the role it needs, and the layers around them.

mod access_forms;
mod api;
mod asked;
mod gates;
mod log_files;
pub mod own_metrics;
mod pages;
mod promotions;
pub(crate) mod rekor;

use std::{ops::Deref, sync::Arc, time::Duration};

use access::{Access, Role};
use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use controller::{Delivery, Migrations};
use projections::ReadModel;
use receipt_log::{Clock, Log, Store};
use serde_json::json;
use tower_http::{
    CompressionLevel, compression::CompressionLayer, limit::RequestBodyLimitLayer, timeout::RequestBodyTimeoutLayer,
};

pub use api::{CommandBody, Created, StartBody, Started, Steered, TokenBody, TrafficAnswer};
pub(crate) use gates::decided as decide_gates;
pub use gates::{GatesAnswer, GatesBody, ReportBody};
pub use promotions::{PromotionAnswer, PromotionBody};

use crate::{
    auth::{self, Cookie, Limiter},
    config::{ConfigCatalogue, PublicUrl},
    events::{self, Hub},
    health::Health,
    promotions::Promotions,
    site,
};

/// Largest body of any request but those that hand in reports: a recipe of 256 kB as a JSON string, with room.
pub const MAX_BODY: usize = 1024 * 1024;
/// Pages and answers are compressed as they are sent: from here on brotli takes more time than it saves on a line of 10 Mbit/s.
const COMPRESSED_AT: i32 = 5;
/// A body that trickles is given up after so long without a byte.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What a route needs of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing. Unsafe methods still need the same Origin.
    Public,
    /// Viewer, and reads only, whatever its method: the pages' own reads are POST.
    Read,
    /// Viewer, and it ends their own session. An administrator may end others' by it.
    Own,
    /// Operator: it changes what runs.
    Operate,
    /// Admin: it lets others in.
    Administer,
}

impl Need {
    /// The role needed, if any.
    pub fn role(self) -> Option<Role> {
        match self {
            Self::Public => None,
            Self::Read | Self::Own => Some(Role::Viewer),
            Self::Operate => Some(Role::Operator),
            Self::Administer => Some(Role::Admin),
        }
    }

    /// True when it changes something: a session then needs its form token.
    pub fn changes(self) -> bool {
        matches!(self, Self::Own | Self::Operate | Self::Administer)
    }
}

/// A route of the server itself. Pages and server functions are added by [`inventory`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Method.
    pub method: Method,
    /// Path as axum writes it.
    pub path: String,
    /// What it needs.
    pub need: Need,
}

/// What one request needs. Whatever is not known to be open needs a viewer, and whatever is not known to be a read an operator.
pub fn need(method: &Method, path: &str, log_is_public: bool) -> Need {
    let safe = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    match path {
        "/healthz" | "/login" | "/favicon.svg" | "/favicon.ico" | "/robots.txt" => Need::Public,
        "/logout" => Need::Own,
        "/checkpoint" | "/rekor/checkpoint" | "/rekor/api/v2/checkpoint" | "/rekor/trusted_root.json"
            if log_is_public =>
        {
            Need::Public
        }
        "/api/v1/tokens" | "/settings/tokens" if !safe => Need::Administer,
        "/settings/revoke" if !safe => Need::Own,
        _ if path.starts_with("/pkg/") => Need::Public,
        // Entries are what receipts state; hashes say nothing about them.
        _ if log_is_public && is_hash_tile(path) => Need::Public,
        _ if safe || (path.starts_with("/api/get_") && *method == Method::POST) => Need::Read,
        _ => Need::Operate,
    }
}

/// Tiles of hashes of either log.
fn is_hash_tile(path: &str) -> bool {
    let own = path.strip_prefix("/rekor/api/v2").or_else(|| path.strip_prefix("/rekor")).unwrap_or(path);
    own.starts_with("/tile/") && !own.starts_with("/tile/entries/")
}

/// What the routes work with. A clone is another handle.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// See [`App`].
pub struct Parts {
    /// What pages read.
    pub read: Arc<dyn ReadModel>,
    /// What commands go to.
    pub delivery: Arc<dyn Delivery>,
    /// What the live stream follows.
    pub log: Arc<dyn Log>,
    /// The log of signatures.
    pub signatures: ::rekor::SignatureLog,
    /// What tiles and proofs are made from.
    pub store: Arc<dyn Store>,
    /// Who may do what.
    pub access: Access,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// What promotes images.
    pub promotions: Arc<Promotions>,
    /// What may be released.
    pub catalogue: Arc<ConfigCatalogue>,
    /// Which migrations there are.
    pub migrations: Arc<dyn Migrations>,
    /// The log's public key.
    pub vkey: String,
    /// The address that browsers use, when it is another than the one listened on.
    pub public_url: Option<PublicUrl>,
    /// Whether `/checkpoint` and the tiles of hashes are for everybody.
    pub log_is_public: bool,
    /// How sessions are kept in browsers.
    pub cookie: Cookie,
    /// Attempts to log in.
    pub logins: Limiter,
    /// The live stream.
    pub hub: Hub,
    /// What is damaged.
    pub health: Health,
    /// Counts for `/metrics`.
    pub counts: own_metrics::Counts,
}

pub use own_metrics::Counts;

impl App {
    /// From its parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The routes of the server itself, in the order of [`router`].
const OWN: [(Method, &str); 29] = [
    (Method::GET, "/healthz"),
    (Method::GET, "/login"),
    (Method::POST, "/login"),
    (Method::POST, "/logout"),
    (Method::GET, "/events"),
    (Method::GET, "/checkpoint"),
    (Method::GET, "/tile/{*path}"),
    (Method::GET, "/receipts/{index}/tlog-proof"),
    (Method::GET, "/receipts/{index}/dsse"),
    (Method::GET, "/metrics"),
    (Method::GET, "/pkg/{*path}"),
    (Method::GET, "/api/v1/releases"),
    (Method::POST, "/api/v1/releases"),
    (Method::GET, "/api/v1/releases/{id}"),
    (Method::POST, "/api/v1/releases/{id}/commands"),
    (Method::GET, "/api/v1/services/{id}/traffic"),
    (Method::GET, "/api/v1/segments/{digest}"),
    (Method::GET, "/api/v1/receipts/{index}"),
    (Method::POST, "/api/v1/tokens"),
    (Method::POST, "/api/v1/gates"),
    (Method::POST, "/api/v1/promotions"),
    (Method::POST, "/rekor/api/v2/log/entries"),
    (Method::GET, "/rekor/api/v2/checkpoint"),
    (Method::GET, "/rekor/api/v2/tile/{*path}"),
    (Method::GET, "/rekor/checkpoint"),
    (Method::GET, "/rekor/tile/{*path}"),
    (Method::GET, "/rekor/trusted_root.json"),
    (Method::POST, "/settings/tokens"),
    (Method::POST, "/settings/revoke"),
];

/// Every route: the server's own, the pages, the server functions.
pub fn inventory() -> Vec<Route> {
    let own = OWN.into_iter().map(|(method, path)| (method, path.to_owned()));
    let functions = leptos::server_fn::axum::server_fn_paths().map(|(path, method)| (method, path.to_owned()));
    let pages = pages::listing().into_iter().map(|page| (Method::GET, page));
    let mut all: Vec<Route> = own
        .chain(functions)
        .chain(pages)
        .map(|(method, path)| Route { need: need(&method, &path, false), method, path })
        .collect();
    all.sort_by(|a, b| (&a.path, a.method.as_str()).cmp(&(&b.path, b.method.as_str())));
    all.dedup();
    all
}

/// The whole server.
pub fn router(app: App) -> Router {
    let own = Router::new()
        .route("/healthz", get(healthz))
        .route("/login", get(pages::login).post(auth::log_in))
        .route("/logout", post(auth::log_out))
        .route("/events", get(events::events))
        .route("/checkpoint", get(log_files::checkpoint))
        .route("/tile/{*path}", get(log_files::tile))
        .route("/receipts/{index}/tlog-proof", get(log_files::tlog_proof))
        .route("/receipts/{index}/dsse", get(log_files::dsse))
        .route("/metrics", get(own_metrics::metrics))
        .route("/pkg/{*path}", get(file))
        .route("/api/v1/releases", get(api::list).post(api::start))
        .route("/api/v1/releases/{id}", get(api::release))
        .route("/api/v1/releases/{id}/commands", post(api::steer))
        .route("/api/v1/services/{id}/traffic", get(api::traffic))
        .route("/api/v1/segments/{digest}", get(api::segment))
        .route("/api/v1/receipts/{index}", get(api::receipt))
        .route("/api/v1/tokens", post(api::create_token))
        .route("/api/v1/promotions", post(promotions::promote))
        .route("/rekor/api/v2/log/entries", post(rekor::append))
        // Rekor's clients read below the API's address, those of tlog-tiles below the log's.
        .route("/rekor/api/v2/checkpoint", get(rekor::checkpoint))
        .route("/rekor/api/v2/tile/{*path}", get(rekor::tile))
        .route("/rekor/checkpoint", get(rekor::checkpoint))
        .route("/rekor/tile/{*path}", get(rekor::tile))
        .route("/rekor/trusted_root.json", get(rekor::trusted_root))
        .route("/settings/tokens", post(access_forms::create))
        .route("/settings/revoke", post(access_forms::revoke));
    let small = pages::add(own, &app)
        .fallback(fallback)
        .layer(middleware::from_fn_with_state(app.clone(), auth::gate))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(RequestBodyLimitLayer::new(MAX_BODY));
    // Reports of scanners are the only large bodies.
    let large = Router::new()
        .route("/api/v1/gates", post(gates::check))
        .layer(middleware::from_fn_with_state(app.clone(), auth::gate))
        .layer(DefaultBodyLimit::max(gates::MAX_BODY))
        .layer(RequestBodyLimitLayer::new(gates::MAX_BODY));
    small
        .merge(large)
        .layer(RequestBodyTimeoutLayer::new(BODY_TIMEOUT))
        .layer(
            CompressionLayer::new()
                .quality(CompressionLevel::Precise(COMPRESSED_AT))
                .compress_when(|_, _, headers: &HeaderMap, _: &_| is_text(headers)),
        )
        .layer(middleware::from_fn_with_state(app.clone(), around))
        .with_state(app)
}

/// Whether an answer is a page or JSON. The secrets in pages (tokens of forms) are under a mask that is another one each time
/// ([`access::masked_form_token`]), so its compressed length tells nothing about them.
fn is_text(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    ["text/html", "application/json"].contains(&media_type.split(';').next().unwrap_or_default().trim())
}

/// What every answer carries.
const OF_ALL: [(HeaderName, &str); 2] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What every answer carries that could be shown by itself. The parts of pages are scripts, modules and style sheets: a first visit asks for a
/// good dozen of them.
const OF_DOCUMENTS: [(HeaderName, &str); 5] = [
    // Pages bring their own, with a nonce: all else is data.
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
    ),
    // Not `no-referrer`: browsers would then send `Origin: null` with our own forms.
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Counts, and sets headers.
async fn around(State(app): State<App>, request: Request, next: Next) -> Response {
    let part_of_a_page = request.uri().path().starts_with("/pkg/");
    let mut response = next.run(request).await;
    app.counts.answered(response.status());
    let headers = response.headers_mut();
    let of_documents = OF_DOCUMENTS.into_iter().filter(|_| !part_of_a_page);
    for (name, value) in OF_ALL.into_iter().chain(of_documents) {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if app.public_url.as_ref().is_some_and(|url| url.scheme == "https") {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    response
}

async fn healthz(State(app): State<App>) -> Response {
    // The log's size is known without the disk; a log that has stopped ends the process.
    let size = *app.log.size().borrow();
    let reasons = app.health.in_short(&app.delivery.left_alone());
    if reasons.is_empty() {
        return Json(json!({ "status": "ok", "receipts": size })).into_response();
    }
    let body = json!({ "status": "unhealthy", "reasons": reasons, "receipts": size });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}

async fn file(uri: Uri, headers: HeaderMap) -> Response {
    site::answer(uri.path(), &headers).unwrap_or_else(|| (StatusCode::NOT_FOUND, "not found\n").into_response())
}

async fn fallback(State(app): State<App>, request: Request) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if safe && let Some(file) = site::answer(request.uri().path(), request.headers()) {
        return file;
    }
    if request.uri().path().starts_with("/api/") || !safe {
        let body = json!({ "error": "not-found", "detail": "there is no such address" });
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    }
    let mut page = pages::page(app, request).await;
    *page.status_mut() = StatusCode::NOT_FOUND;
    page
}

/// 303 to an address of this server.
pub(crate) fn see_other(path: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let location = HeaderValue::from_str(path).unwrap_or_else(|_| HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_closed() {
        let check = |method: Method, path: &str, public: bool, expected: Need| {
            assert_eq!(need(&method, path, public), expected, "{method} {path} public={public}");
        };
        check(Method::GET, "/", false, Need::Read);
        check(Method::GET, "/healthz", false, Need::Public);
        check(Method::GET, "/checkpoint", false, Need::Read);
        check(Method::GET, "/checkpoint", true, Need::Public);
        check(Method::GET, "/tile/0/000", true, Need::Public);
        check(Method::GET, "/tile/entries/000", true, Need::Read);
        check(Method::GET, "/rekor/tile/0/000", true, Need::Public);
        check(Method::GET, "/rekor/tile/0/000", false, Need::Read);
        check(Method::GET, "/rekor/tile/entries/000", true, Need::Read);
        check(Method::GET, "/rekor/api/v2/tile/0/000", true, Need::Public);
        check(Method::GET, "/rekor/api/v2/tile/entries/000", true, Need::Read);
        check(Method::GET, "/rekor/trusted_root.json", true, Need::Public);
        check(Method::POST, "/rekor/api/v2/log/entries", true, Need::Operate);
        check(Method::POST, "/api/get_overview", false, Need::Read);
        check(Method::PUT, "/api/get_overview", false, Need::Operate);
        check(Method::POST, "/api/release_command", false, Need::Operate);
        check(Method::POST, "/api/v1/releases", false, Need::Operate);
        check(Method::POST, "/api/v1/tokens", false, Need::Administer);
        check(Method::DELETE, "/anything", true, Need::Operate);
        check(Method::POST, "/logout", false, Need::Own);
    }
}
