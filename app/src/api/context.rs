//! What the server gives to the server functions by context.
//!
//! Per request: `Option<access::Identity>`. For all requests: `Arc<dyn projections::ReadModel>`, `Arc<dyn controller::Delivery>`,
//! `Arc<dyn receipt_log::Clock>`, [`LogKey`], [`LogHealth`] and [`Environments`].

use std::sync::Arc;

use access::{Identity, Role, Via};
use leptos::prelude::*;
use leptos_axum::ResponseOptions;
use model::Timestamp;
use projections::ReadModel;
use receipt_log::{Clock, SystemClock};

use super::ApiError;

/// The log's public key as a `vkey` of C2SP signed notes: receipts and checkpoints are signed with it.
#[derive(Debug, Clone)]
pub struct LogKey(pub String);

/// What is damaged, and the services that are left alone, each in a sentence; empty when all is well.
#[derive(Debug, Clone, Default)]
pub struct LogHealth(pub Vec<String>);

/// The environments that images are promoted into, in their order.
#[derive(Debug, Clone, Default)]
pub struct Environments(pub Vec<model::Environment>);

/// The service of this type, or the refusal to go on without it.
pub(super) fn service<T: Clone + 'static>(name: &'static str) -> Result<T, ApiError> {
    use_context::<T>().ok_or_else(|| ApiError::Unavailable(format!("the server has no {name}")))
}

/// Who asks, if they are known.
pub(super) fn identity() -> Option<Identity> {
    use_context::<Option<Identity>>().flatten().or_else(use_context::<Identity>)
}

/// Who asks, if they may do this.
pub(super) fn require(role: Role) -> Result<Identity, ApiError> {
    let identity = identity().ok_or(ApiError::NotLoggedIn)?;
    if identity.role >= role { Ok(identity) } else { Err(ApiError::Forbidden(identity.actor.to_string())) }
}

/// The read model, for a viewer.
pub(super) fn reader() -> Result<Arc<dyn ReadModel>, ApiError> {
    require(Role::Viewer)?;
    service("read model")
}

/// The token of the asker's forms as a page carries it; empty with a bearer token, which needs none. Without randomness it is empty too, and
/// the form is refused.
pub(super) fn form_token(identity: &Identity) -> String {
    access::masked_form_token(form_secret(identity)).unwrap_or_default()
}

/// The same as the session has it: no page carries it.
pub(super) fn form_secret(identity: &Identity) -> &str {
    match &identity.via {
        Via::Session { form_token } => form_token,
        Via::Token => "",
    }
}

/// Now, by the server's clock.
pub(crate) fn now() -> Timestamp {
    use_context::<Arc<dyn Clock>>().map_or_else(|| SystemClock.now(), |clock| clock.now())
}

/// True for a form sent by a browser itself, which wants a page for an answer.
pub(super) fn is_plain_form() -> bool {
    use_context::<http::request::Parts>().is_some_and(|parts| {
        parts.headers.get_all(http::header::ACCEPT).iter().any(|v| v.to_str().is_ok_and(|v| v.contains("text/html")))
    })
}

/// Gives the response the status that says what the error says.
pub(super) fn answered<T>(result: Result<T, ApiError>) -> Result<T, ApiError> {
    if let (Err(error), Some(response)) = (&result, use_context::<ResponseOptions>())
        && let Ok(status) = http::StatusCode::from_u16(error.status())
    {
        response.set_status(status);
    }
    result
}
