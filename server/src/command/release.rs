//! `deliveryos release …`, over the API of a running server.

use std::process::ExitCode;

use model::{CommandKind, ReleaseId, event::Outcome};
use projections::{Phase, ReleaseRow, ReleaseView, describe, say};

use super::{client::Client, client::random_id, print, recipe, watch};
use crate::{
    args::{Global, ReleaseVerb, Start, Steer},
    demo::DEFAULT_RECIPE,
    exit::WrongUse,
    router::{CommandBody, StartBody, Started, Steered},
};

pub(super) async fn run(global: &Global, verb: ReleaseVerb) -> anyhow::Result<ExitCode> {
    let client = Client::new(global)?;
    match verb {
        ReleaseVerb::Start(start) => start_release(global, &client, start).await,
        ReleaseVerb::Promote(order) => steer(global, &client, CommandKind::Promote, order).await,
        ReleaseVerb::PromoteFull(order) => steer(global, &client, CommandKind::PromoteFull, order).await,
        ReleaseVerb::Pause(order) => steer(global, &client, CommandKind::Pause, order).await,
        ReleaseVerb::Resume(order) => steer(global, &client, CommandKind::Resume, order).await,
        ReleaseVerb::Abort(order) => steer(global, &client, CommandKind::Abort, order).await,
        ReleaseVerb::Retry(order) => steer(global, &client, CommandKind::Retry, order).await,
        ReleaseVerb::Rollback(order) => steer(global, &client, CommandKind::Rollback, order).await,
        ReleaseVerb::Status { release } => status(global, &client, &release).await,
        ReleaseVerb::Watch { release } => watch::watch(global, &client, &release).await,
        ReleaseVerb::List { service, state, limit } => {
            let mut query = reqwest::Url::parse("http://x/")?;
            query.query_pairs_mut().append_pair("limit", &limit.to_string());
            if let Some(service) = service {
                query.query_pairs_mut().append_pair("service", service.as_str());
            }
            if let Some(state) = state {
                query.query_pairs_mut().append_pair("state", &state);
            }
            let rows: Vec<ReleaseRow> =
                client.get(&format!("/api/v1/releases?{}", query.query().unwrap_or_default())).await?;
            list(global, &rows)
        }
    }
}

async fn start_release(global: &Global, client: &Client, start: Start) -> anyhow::Result<ExitCode> {
    let recipe = match &start.recipe {
        Some(path) => {
            let (name, bytes) = recipe::read(path)?;
            String::from_utf8(bytes).map_err(|_| WrongUse(format!("{name} is not UTF-8")))?
        }
        None => DEFAULT_RECIPE.to_owned(),
    };
    let body = StartBody {
        id: match start.id {
            Some(id) => id,
            None => random_id()?,
        },
        service: start.service,
        version: start.version,
        environment: start.environment,
        recipe,
        speed: start.speed,
        down_migration: start.down_migration,
        reason: start.reason,
    };
    let Started { release, warnings } = client.post("/api/v1/releases", &body).await?;
    for warning in warnings.iter().filter(|_| !global.json) {
        print::warning(warning);
    }
    if !start.watch {
        if global.json {
            print::json(&Started { release, warnings })?;
        } else {
            print::line(release.as_str())?;
            print::note(&format!("follow it: deliveryos release watch {release}"));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !global.json {
        print::line(release.as_str())?;
    }
    watch::watch(global, client, &release).await
}

async fn steer(global: &Global, client: &Client, command: CommandKind, order: Steer) -> anyhow::Result<ExitCode> {
    let id = match order.id {
        Some(id) => id,
        None => random_id()?,
    };
    let path = format!("/api/v1/releases/{}/commands", order.release);
    let steered: Steered = client.post(&path, &CommandBody { id, command, reason: order.reason }).await?;
    if global.json {
        print::json(&steered)?;
    } else {
        print::line(&format!("{command} of {} accepted, receipt {}", order.release, steered.receipt))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(global: &Global, client: &Client, release: &ReleaseId) -> anyhow::Result<ExitCode> {
    let view: ReleaseView = client.get(&format!("/api/v1/releases/{release}")).await?;
    if global.json {
        print::json(&view)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = &view.row;
    print::line(&format!("{}  {} {} → {}", row.id, row.service, view.stable_version, row.version))?;
    print::line(&format!("state    {}", state(row)))?;
    print::line(&format!("digest   {}", row.digest))?;
    print::line(&format!("started  {} by {}", row.started, row.actor))?;
    if let Some(worst) = &row.worst {
        print::line(&format!("finding  {worst}"))?;
    }
    print::line(&format!("receipts {}, as of {}", view.receipts.len(), view.as_of))?;
    for receipt in &view.receipts {
        print::line(&format!(
            "  {:>6}  {}  {}",
            receipt.index,
            receipt.payload.time.clock(),
            describe(receipt).sentence()
        ))?;
    }
    let can: Vec<&str> = view.commands.iter().filter(|c| c.refused.is_none()).map(|c| c.kind.as_str()).collect();
    if !can.is_empty() {
        print::line(&format!("commands {}", can.join(", ")))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(global: &Global, rows: &[ReleaseRow]) -> anyhow::Result<ExitCode> {
    if global.json {
        rows.iter().try_for_each(print::json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.id.to_string(),
                row.version.to_string(),
                row.environment.to_string(),
                row.started.to_string(),
                row.actor.to_string(),
                state(row),
            ]
        })
        .collect();
    print::table(&["release", "version", "environment", "started", "by", "state"], &cells)?;
    Ok(ExitCode::SUCCESS)
}

/// Where a release stands, in a few words.
pub(super) fn state(row: &ReleaseRow) -> String {
    let step = format!("step {} of {}", (row.step.0 + 1).min(row.step.1.max(1)), row.step.1);
    match &row.phase {
        Phase::Progressing => format!("rolling out, {step}, {}", row.weight),
        Phase::Paused { until: Some(until), .. } => format!("held until {}, {step}, {}", until.clock(), row.weight),
        Phase::Paused { until: None, reason } => format!("held ({reason}), {step}, {}", row.weight),
        Phase::Aborting if row.weight.percent() > 0 => format!("aborting, canary still at {}", row.weight),
        Phase::Aborting => "aborting, canary draining".to_owned(),
        Phase::Ended(outcome) => {
            let took = row
                .ended
                .map(|ended| format!(" after {}", say::duration(ended.since(row.started))))
                .unwrap_or_default();
            format!("{}{took}", outcome.as_str())
        }
    }
}

/// The exit code of a release that ended: promoted is yes.
pub(super) fn code(outcome: &Outcome) -> ExitCode {
    match outcome {
        Outcome::Promoted => ExitCode::SUCCESS,
        _ => ExitCode::from(crate::exit::REFUSED),
    }
}
