//! Commands: each needs an operator, the session's form token, and answers only when its intent is durable.

use leptos::{prelude::*, server_fn::codec::Post};
use serde::{Deserialize, Serialize};

use super::{ApiError, encoding::TextJson};

/// A command that was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The verb.
    pub kind: String,
    /// Index of its receipt.
    pub receipt: u64,
}

/// Gives a release a command.
///
/// `command_id` together with the verb is the idempotency key: a form sent twice is carried out once. A plain form (JavaScript off)
/// is answered with 303 to the release's page, which says what came of it.
#[server(prefix = "/api", endpoint = "release_command", output = Post<TextJson>)]
pub async fn release_command(
    release: String,
    kind: String,
    #[server(default)] reason: String,
    command_id: String,
    #[server(default)] form_token: String,
) -> Result<Accepted, ApiError> {
    let result = super::context::answered(ordered(&release, &kind, reason, &command_id, &form_token).await);
    back_to_page(&release, &kind, &result);
    result
}

#[cfg(feature = "ssr")]
async fn ordered(
    release: &str,
    kind: &str,
    reason: String,
    command_id: &str,
    form_token: &str,
) -> Result<Accepted, ApiError> {
    use super::context;
    use controller::{CommandError, Delivery};
    let who = context::require(access::Role::Operator)?;
    who.require_form_token(Some(form_token)).map_err(|_| ApiError::FormExpired)?;
    let delivery: std::sync::Arc<dyn Delivery> = context::service("controller")?;
    let invalid = |e: model::ParseError| ApiError::Invalid(e.to_string());
    let kind: model::CommandKind = kind.parse().map_err(invalid)?;
    let command = model::Command {
        id: format!("{kind}-{command_id}").parse().map_err(invalid)?,
        release: release.parse().map_err(|_| ApiError::NotFound(format!("release {release}")))?,
        kind,
        actor: who.actor,
        reason: reason.trim().to_owned(),
    };
    match delivery.command(command).await {
        Ok(receipt) => Ok(Accepted { kind: kind.to_string(), receipt }),
        Err(CommandError::UnknownRelease(id)) => Err(ApiError::NotFound(format!("release {id}"))),
        Err(CommandError::Refused(why)) => Err(ApiError::Refused(why)),
        Err(e @ CommandError::NotConfigured(_)) => Err(ApiError::Refused(e.to_string())),
        Err(e @ CommandError::Unfit(_)) => Err(ApiError::Invalid(e.to_string())),
        Err(e @ (CommandError::Unavailable(_) | CommandError::LeftAlone(_) | CommandError::InPart(_))) => {
            Err(ApiError::Unavailable(e.to_string()))
        }
    }
}

/// For a plain form: see other, the release's page. What came of it is said by words that the page knows, never by text from the address.
#[cfg(feature = "ssr")]
fn back_to_page(release: &str, kind: &str, result: &Result<Accepted, ApiError>) {
    let Some(response) = use_context::<leptos_axum::ResponseOptions>().filter(|_| super::context::is_plain_form())
    else {
        return;
    };
    // Both are checked: nothing but an id and a verb may stand in the address.
    let (Ok(release), Ok(kind)) = (release.parse::<model::ReleaseId>(), kind.parse::<model::CommandKind>()) else {
        return;
    };
    let said = match result {
        Ok(Accepted { receipt, .. }) => format!("accepted={receipt}"),
        Err(e) => format!("problem={}", e.word()),
    };
    if let Ok(location) = http::HeaderValue::from_str(&format!("/releases/{release}?command={kind}&{said}")) {
        response.insert_header(http::header::LOCATION, location);
        response.set_status(http::StatusCode::SEE_OTHER);
    }
}
