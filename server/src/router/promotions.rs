//! `POST /api/v1/promotions`: the server promotes an image between its environments, by their rules, and records it.

use access::Identity;
use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use model::{Command, CommandId, Digest, Environment, ServiceId, evidence::PromotionDecided};
use serde::{Deserialize, Serialize};

use super::{App, api::Problem};
use crate::promotions::{Asked, NotDecided};

/// Body of the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromotionBody {
    /// Idempotency key.
    pub id: CommandId,
    /// The service.
    pub service: ServiceId,
    /// Into which environment.
    pub environment: Environment,
    /// Under which tag.
    pub tag: String,
    /// The image that the tag must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The receipt of the request that this agrees to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agrees_to: Option<u64>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Answer to it: durable, whatever was decided.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PromotionAnswer {
    /// Index of the receipt.
    pub receipt: u64,
    /// What was decided: `copied`, `refused`, or `waits` for a second person.
    #[serde(flatten)]
    pub facts: PromotionDecided,
}

/// `POST /api/v1/promotions`.
pub(super) async fn promote(
    State(app): State<App>,
    Extension(who): Extension<Identity>,
    body: Result<Json<PromotionBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(body) = body?;
    if let Some(why) = Command::unfit(&body.reason) {
        return Err(Problem::invalid(why));
    }
    if !app.catalogue.knows(&body.service) {
        return Err(Problem::missing(&format!("service {} in the configuration", body.service)));
    }
    let asked = Asked {
        id: body.id,
        service: body.service,
        environment: body.environment,
        tag: body.tag.parse().map_err(|error: registry::Error| Problem::invalid(error.to_string()))?,
        digest: body.digest,
        agrees_to: body.agrees_to,
        actor: who.actor,
        reason: body.reason,
    };
    let promotions = app.promotions.clone();
    // Whoever asked may go away; what was begun is ended and written down.
    let work = tokio::spawn(async move { promotions.promote(&asked).await });
    match work.await.map_err(|error| Problem::unavailable(&error))? {
        Ok(answer) => {
            let status = if answer.again { StatusCode::OK } else { StatusCode::CREATED };
            Ok((status, Json(PromotionAnswer { receipt: answer.receipt, facts: answer.facts })).into_response())
        }
        Err(NotDecided::WrongUse(why)) => Err(Problem::invalid(why)),
        Err(NotDecided::Unavailable(why)) => Err(Problem::not_found_out(why)),
    }
}
