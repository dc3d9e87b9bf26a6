//! The JSON API of the command line and of scripts: thin, over the same services as the pages.
//!
//! Refusals are `{"error": WORD, "detail": TEXT}`: 400 wrong use, 403 and 409 refused, 404 no such thing, 503 could not find out.

use access::{Identity, Role};
use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use controller::{CommandError, StartError, StartRequest, Traffic};
use model::{Actor, Command, CommandId, CommandKind, Digest, Environment, ReleaseId, ServiceId, Timestamp, Version};
use projections::{ReleaseFilter, ReleaseRow, ReleaseView};
use rollout::Recipe;
use serde::{Deserialize, Serialize};

use super::{
    App,
    access_forms::{MAX_TOKEN_DAYS, NotMade, make_token},
    asked::{InPath, InQuery, unreadable},
};
use crate::{
    exit,
    false_stops::{builtin, estimate},
};

/// Longest recipe with its templates: the largest of Argo's own examples has 6 kB.
const MAX_RECIPE: usize = 256 * 1024;
/// Speeds that make sense: from a hundredth to a thousand times as fast.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.01..=1_000.0;

/// Body of `POST /api/v1/releases`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartBody {
    /// Idempotency key.
    pub id: CommandId,
    /// The service.
    pub service: ServiceId,
    /// The new version, as the configuration names it.
    pub version: Version,
    /// Where the service runs, to be sure: refused when that is somewhere else. May be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The recipe's text.
    pub recipe: String,
    /// Divides every duration.
    #[serde(default = "one")]
    pub speed: f64,
    /// Down-migration, by its name in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_migration: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

fn one() -> f64 {
    1.0
}

/// Answer to it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Started {
    /// The release.
    pub release: ReleaseId,
    /// What whoever started it should know: it goes on all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Answer of `GET /api/v1/services/NAME/traffic`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrafficAnswer {
    /// Requests a second in the last minutes in which stable had all of them; `null` before a minute with any.
    pub rate: Option<f64>,
    /// Why the judge of its next release would see less than it is asked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Body of `POST /api/v1/releases/ID/commands`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandBody {
    /// Idempotency key.
    pub id: CommandId,
    /// The verb.
    pub command: CommandKind,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// Answer to it: the intent is durable, its effect follows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Steered {
    /// Index of the receipt of the command.
    pub receipt: u64,
}

/// Body of `POST /api/v1/tokens`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    /// Name that its receipts carry.
    pub name: Actor,
    /// What it may do.
    pub role: Role,
    /// Days until it expires.
    pub days: u16,
}

/// Answer to it. The token is shown this once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Created {
    /// The token.
    pub token: String,
    /// When it expires.
    pub expires: Timestamp,
}

/// Why not, as it is answered.
pub(crate) struct Problem(StatusCode, &'static str, String);

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.2)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "error": self.1, "detail": self.2 });
        (self.0, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
    }
}

impl Problem {
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, "invalid", detail.into())
    }
    pub(super) fn refused(detail: impl Into<String>) -> Self {
        Self(StatusCode::CONFLICT, "refused", detail.into())
    }
    pub(super) fn missing(what: &str) -> Self {
        Self(StatusCode::NOT_FOUND, "not-found", format!("there is no {what}"))
    }
    /// For what the asker can set right: a registry that does not answer. Nothing of it is a secret.
    pub(super) fn not_found_out(detail: impl Into<String>) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail.into())
    }
    /// What exactly failed is for the server's own log.
    pub(super) fn unavailable(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "a request of the API could not be answered");
        Self(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "it could not be found out: see the server's log".to_owned(),
        )
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let (status, why) = unreadable(&rejection);
        Self(status, "invalid", why)
    }
}

/// `POST /api/v1/releases`.
pub(super) async fn start(
    State(app): State<App>,
    Extension(who): Extension<Identity>,
    body: Result<Json<StartBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(body) = body?;
    if body.recipe.len() > MAX_RECIPE {
        return Err(Problem::invalid(format!("a recipe has at most {} kB", MAX_RECIPE / 1024)));
    }
    if !SPEEDS.contains(&body.speed) {
        return Err(Problem::invalid("speed is 0.01 to 1000"));
    }
    if let Some(why) = Command::unfit(&body.reason) {
        return Err(Problem::invalid(why));
    }
    if let Some(name) = &body.down_migration
        && !app.migrations.knows(name)
    {
        return Err(Problem::refused(format!("there is no down_migration {name:?} in the configuration")));
    }
    let found = {
        let (catalogue, service, version) = (app.catalogue.clone(), body.service.clone(), body.version.clone());
        // May read the configuration and hash programs.
        tokio::task::spawn_blocking(move || catalogue.version(&service, &version)).await
    };
    let (environment, canary) = found.map_err(|error| Problem::unavailable(&error))?.map_err(|error| {
        if exit::code(&error) == exit::REFUSED {
            Problem::refused(error.to_string())
        } else {
            Problem::refused(format!("the configuration cannot be used: {}", exit::chain(&error)))
        }
    })?;
    if let Some(asked) = body.environment.filter(|asked| *asked != environment) {
        return Err(Problem::refused(format!(
            "{} runs in {environment} here, not in {asked}: a release of it shifts the traffic of {environment}",
            body.service
        )));
    }
    let traffic = app.delivery.traffic(&body.service).unwrap_or_default();
    let (recipe, speed) = (body.recipe.clone(), body.speed);
    let request = StartRequest {
        id: body.id,
        service: body.service,
        environment,
        canary,
        recipe: body.recipe,
        speed: body.speed,
        down_migration: body.down_migration,
        actor: who.actor,
        reason: body.reason,
        requirements: Vec::new(),
    };
    match app.delivery.start(request).await {
        Ok(release) => {
            let warnings = warnings(recipe, speed, traffic).await;
            Ok((StatusCode::CREATED, Json(Started { release, warnings })).into_response())
        }
        Err(StartError::Unavailable(why)) => Err(Problem::unavailable(&why)),
        Err(StartError::LeftAlone(left)) => Err(Problem::not_found_out(left.to_string())),
        Err(error) => Err(Problem::refused(error.to_string())),
    }
}

/// What is seen of the traffic so far, held against the recipe.
async fn warnings(recipe: String, speed: f64, traffic: Traffic) -> Vec<String> {
    let Traffic { rate, warning } = traffic;
    // Simulates rollouts: a tenth of a second.
    let often = tokio::task::spawn_blocking(move || {
        let recipe = Recipe::load(&[("recipe", recipe.as_bytes())]).ok()?.speed(speed);
        let fed = builtin(&recipe).is_some_and(|b| b.rule == "sequential");
        Some((fed, rate.and_then(|rate| estimate(&recipe, rate)?.warning())))
    });
    let (fed, often) = often.await.ok().flatten().unwrap_or_default();
    warning.filter(|_| fed).into_iter().chain(often).collect()
}

/// `GET /api/v1/services/NAME/traffic`.
pub(super) async fn traffic(
    State(app): State<App>,
    InPath(service): InPath<ServiceId>,
) -> Result<Json<TrafficAnswer>, Problem> {
    let seen = app.delivery.traffic(&service).ok_or_else(|| Problem::missing(&format!("service {service}")))?;
    Ok(Json(TrafficAnswer { rate: seen.rate, warning: seen.warning }))
}

/// `POST /api/v1/releases/ID/commands`.
pub(super) async fn steer(
    State(app): State<App>,
    Extension(who): Extension<Identity>,
    InPath(release): InPath<ReleaseId>,
    body: Result<Json<CommandBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(body) = body?;
    let reason = body.reason.trim().to_owned();
    if let Some(why) = Command::unfit(&reason) {
        return Err(Problem::invalid(why));
    }
    let command = Command { id: body.id, release, kind: body.command, actor: who.actor, reason };
    match app.delivery.command(command).await {
        Ok(receipt) => Ok((StatusCode::ACCEPTED, Json(Steered { receipt })).into_response()),
        Err(CommandError::UnknownRelease(id)) => Err(Problem::missing(&format!("release {id}"))),
        Err(CommandError::Refused(why)) => Err(Problem::refused(why)),
        Err(error @ CommandError::NotConfigured(_)) => Err(Problem::refused(error.to_string())),
        Err(error @ CommandError::Unfit(_)) => Err(Problem::invalid(error.to_string())),
        Err(CommandError::Unavailable(why)) => Err(Problem::unavailable(&why)),
        Err(error @ (CommandError::LeftAlone(_) | CommandError::InPart(_))) => {
            Err(Problem::not_found_out(error.to_string()))
        }
    }
}

/// What to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    service: Option<ServiceId>,
    state: Option<String>,
    before: Option<Timestamp>,
    q: Option<String>,
    limit: Option<u32>,
}

/// `GET /api/v1/releases`.
pub(super) async fn list(
    State(app): State<App>,
    InQuery(asked): InQuery<Listed>,
) -> Result<Json<Vec<ReleaseRow>>, Problem> {
    let limit = asked.limit.unwrap_or(20).clamp(1, projections::MAX_PAGE);
    let filter = ReleaseFilter {
        service: asked.service,
        state: asked.state,
        before: asked.before,
        text: asked.q,
        limit,
        ..ReleaseFilter::default()
    };
    app.read.releases(filter).await.map(Json).map_err(|error| Problem::unavailable(&error))
}

/// `GET /api/v1/releases/ID`.
pub(super) async fn release(
    State(app): State<App>,
    InPath(id): InPath<ReleaseId>,
) -> Result<Json<ReleaseView>, Problem> {
    let found = app.read.release(&id).await.map_err(|error| Problem::unavailable(&error))?;
    found.map(Json).ok_or_else(|| Problem::missing(&format!("release {id}")))
}

/// `GET /api/v1/receipts/INDEX`: entry, inclusion proof and checkpoint.
pub(super) async fn receipt(State(app): State<App>, InPath(index): InPath<u64>) -> Result<Response, Problem> {
    let found = app.read.receipt(index).await.map_err(|error| Problem::unavailable(&error))?;
    found.map(|proof| Json(proof).into_response()).ok_or_else(|| Problem::missing(&format!("receipt {index}")))
}

/// `GET /api/v1/segments/DIGEST`: a recipe's text, the ticks or measurements behind a verdict.
pub(super) async fn segment(State(app): State<App>, InPath(digest): InPath<Digest>) -> Result<Response, Problem> {
    let found = app.read.segment(&digest).await.map_err(|error| Problem::unavailable(&error))?;
    let bytes = found.ok_or_else(|| Problem::missing("such segment"))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment"),
        (header::CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    Ok((headers, bytes).into_response())
}

/// `POST /api/v1/tokens`.
pub(super) async fn create_token(
    State(app): State<App>,
    Extension(who): Extension<Identity>,
    body: Result<Json<TokenBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(body) = body?;
    if !(1..=MAX_TOKEN_DAYS).contains(&body.days) {
        return Err(Problem::invalid(format!("days is 1 to {MAX_TOKEN_DAYS}")));
    }
    let made = make_token(&app, &who, &body.name, body.role, body.days).await;
    let made = made.map_err(|error| match error {
        NotMade::Unwritten(cause) => Problem::unavailable(&cause),
        NotMade::Unstored(cause) => Problem::unavailable(&cause),
    })?;
    let created = Created { token: made.secret.expose().to_owned(), expires: made.expires };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(created)).into_response())
}
