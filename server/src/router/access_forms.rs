//! Tokens and sessions as forms of the settings page: plain pages, so that they work without JavaScript, and a secret is shown once and
//! never kept by a script.
//!
//! Who lets others in, or out, is written down before it is done: `delivery.command.accepted`, with whom it is about and never with a
//! secret.

use access::{AccessError, CredentialKind, Identity, NewToken, Role};
use axum::{
    Extension,
    body::Bytes,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use model::{Actor, Kind, Timestamp};
use receipt_log::{AppendError, Draft};
use receipts::Payload;
use serde_json::json;

use super::{App, see_other};
use crate::auth::{form_field, plain_page};

/// Days that a token lives at most.
pub(super) const MAX_TOKEN_DAYS: u16 = 365;
/// Milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Random bytes of an idempotency key: two are never the same.
const KEY_BYTES: usize = 16;

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotMade {
    /// It could not be written down, so it was not done.
    #[error("it could not be written down, so nothing was done")]
    Unwritten(#[source] AppendError),
    /// It could not be stored.
    #[error("it could not be stored")]
    Unstored(#[source] AccessError),
}

/// Writes down that a token is made, and makes it.
pub(super) async fn make_token(
    app: &App,
    who: &Identity,
    name: &Actor,
    role: Role,
    days: u16,
) -> Result<NewToken, NotMade> {
    let now = app.clock.now();
    let about = json!({ "subject": name, "role": role, "days": days });
    state(app, who, "create-token", about, now).await.map_err(NotMade::Unwritten)?;
    let made = app.access.make_token(name.clone(), role, i64::from(days) * DAY_MS, now).await;
    tracing::info!(by = %who.actor, %name, %role, "token made");
    made.map_err(NotMade::Unstored)
}

/// `POST /settings/tokens`: makes a token and shows it once.
pub(super) async fn create(State(app): State<App>, Extension(who): Extension<Identity>, form: Bytes) -> Response {
    let field = |name| form_field(&form, name).unwrap_or_default();
    let name: Result<Actor, _> = field("name").trim().parse();
    let role: Result<Role, _> = field("role").parse();
    let days = field("days").trim().parse::<u16>().ok().filter(|days| (1..=MAX_TOKEN_DAYS).contains(days));
    let (Ok(name), Ok(role), Some(days)) = (name, role, days) else {
        return page(
            StatusCode::BAD_REQUEST,
            "Token not made",
            &format!("<p>A token needs a name of at most 120 characters, a role, and 1 to {MAX_TOKEN_DAYS} days.</p>"),
        );
    };
    match make_token(&app, &who, &name, role, days).await {
        Ok(made) => page(
            StatusCode::OK,
            "Token made",
            // The secret has letters, digits, '-' and '_' only.
            &format!(
                "<p>It is shown this once. Send it as <code>Authorization: Bearer …</code>, or keep it in <code>DELIVERYOS_TOKEN</code>.</p>\
                 <pre><code id=\"token\">{}</code></pre><p>Role {role}, good until {}.</p>",
                made.secret.expose(),
                made.expires
            ),
        ),
        Err(error) => unavailable(&error),
    }
}

/// `POST /settings/revoke`: ends a session or a token. An administrator any, everybody else their own sessions.
pub(super) async fn revoke(State(app): State<App>, Extension(who): Extension<Identity>, form: Bytes) -> Response {
    let id = form_field(&form, "id").unwrap_or_default();
    let mut found = None;
    for kind in [CredentialKind::Session, CredentialKind::Token] {
        match app.access.list(kind).await {
            Ok(all) => found = found.or_else(|| all.into_iter().find(|credential| credential.hash == id)),
            Err(error) => return unavailable(&error),
        }
    }
    let own =
        |credential: &access::Credential| credential.kind == CredentialKind::Session && credential.actor == who.actor;
    let Some(credential) = found.filter(|credential| who.role >= Role::Admin || own(credential)) else {
        return page(
            StatusCode::NOT_FOUND,
            "Nothing ended",
            "<p>There is no such session or token: it may have ended already.</p>",
        );
    };
    let command = if credential.kind == CredentialKind::Token { "revoke-token" } else { "end-session" };
    let about = json!({ "subject": credential.actor, "role": credential.role });
    if let Err(error) = state(&app, &who, command, about, app.clock.now()).await {
        return unavailable(&NotMade::Unwritten(error));
    }
    match app.access.revoke(&credential.hash).await {
        Ok(()) | Err(AccessError::Unknown) => {
            tracing::info!(by = %who.actor, of = %credential.actor, command, "access ended");
            see_other("/settings")
        }
        Err(error) => unavailable(&error),
    }
}

/// The receipt of a command about access.
async fn state(
    app: &App,
    who: &Identity,
    command: &str,
    about: serde_json::Value,
    now: Timestamp,
) -> Result<u64, AppendError> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| AppendError::Signing(error.to_string()))?;
    let key = format!("{command}-{}", hex::encode(key));
    let mut facts = json!({ "command": command, "command_id": key, "reason": "" });
    if let (Some(facts), serde_json::Value::Object(about)) = (facts.as_object_mut(), about) {
        facts.extend(about);
    }
    let payload = Payload::new(Kind::CommandAccepted, now, who.actor.clone(), &facts)
        .map_err(|error| AppendError::NotCanonical(error.to_string()))?;
    app.log.append(Draft { key: format!("access/{key}"), payload }).await
}

fn unavailable(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, cause = error.source().map(tracing::field::display), "access could not be changed");
    page(StatusCode::SERVICE_UNAVAILABLE, "Not done", &format!("<p>{error}. Try again.</p>"))
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let body = format!("{body}<p><a class=\"door\" href=\"/settings\">Settings</a></p>");
    let mut response = (status, Html(plain_page(title, &body))).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
