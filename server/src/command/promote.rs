//! `deliveryos promote`: the same bytes elsewhere, with all that proves what they are.

use std::{process::ExitCode, time::Duration};

use registry::{
    Reference, Tag,
    promote::{Options, Progress, Report, promote},
};
use serde::Serialize;

use super::{
    client::{Client, random_id},
    place, print,
};
use crate::{
    args::{self, Global},
    exit::{REFUSED, WrongUse, chain, code},
    router::{PromotionAnswer, PromotionBody},
};

/// What is printed with `--json`.
#[derive(Serialize)]
struct Said<'a> {
    decision: &'static str,
    #[serde(flatten)]
    report: Option<&'a Report>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A large image between far registries. The server goes on when nobody waits any more, and the same key asks for what came of it.
const PATIENCE: Duration = Duration::from_secs(3_600);

pub(crate) async fn run(global: &Global, options: args::Promote) -> anyhow::Result<ExitCode> {
    let (source, destination) = match (&options.source, &options.destination) {
        (Some(source), Some(destination)) => (source, destination),
        _ => return there(global, options).await,
    };
    let destination_tag = destination.tag().cloned();
    if let Some(registry::At::Digest(_)) = destination.at() {
        return Err(WrongUse("the destination's digest is the source's: name a tag, or none".to_owned()).into());
    }
    let at = place::at(source).await?;
    // Without a tag of its own it keeps the one it has.
    let tag = destination_tag.or_else(|| if let registry::At::Tag(tag) = &at { Some(tag.clone()) } else { None });
    let done = copy(&options, source, destination, &at, tag).await;
    let (report, reason) = match &done {
        Ok(report) => (Some(report), None),
        Err(error) => (None, Some(chain(error))),
    };
    if global.json && (report.is_some() || done.as_ref().is_err_and(|error| code(error) == REFUSED)) {
        let decision = match report {
            Some(report) if report.dry_run => "would-copy",
            Some(_) => "copied",
            None => "refused",
        };
        print::json(&Said { decision, report, reason })?;
    }
    let report = done?;
    if !global.json {
        say(&report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A server decides, copies and records.
async fn there(global: &Global, options: args::Promote) -> anyhow::Result<ExitCode> {
    let (Some(service), Some(environment), Some(tag)) = (options.service, options.environment, options.tag) else {
        return Err(WrongUse("SRC and DST, or --service, --to and --tag".to_owned()).into());
    };
    let id = match options.id {
        Some(id) => id,
        None => random_id()?,
    };
    let (digest, agrees_to, reason) = (options.digest, options.agree, options.reason);
    let body = PromotionBody { id, service, environment, tag, digest, agrees_to, reason };
    let client = Client::new(global)?;
    let answer: PromotionAnswer = client.post_within(PATIENCE, "/api/v1/promotions", &body).await?;
    let (facts, receipt) = (&answer.facts, answer.receipt);
    if global.json {
        print::json(&answer)?;
    } else {
        let image = facts.subject.as_ref().map(|digest| format!("  {digest}\n")).unwrap_or_default();
        let what = format!("{} {} to {}", facts.service, facts.tag, facts.environment);
        print::line(&match facts.decision.as_str() {
            "copied" => format!(
                "{what}: copied, receipt {receipt}\n{image}  to   {}\n  {} manifests, {} of them evidence; {} of {} bytes were not there yet\n  {} attestations verified",
                facts.to,
                facts.manifests,
                facts.evidence,
                facts.copied,
                facts.bytes,
                facts.verified.len()
            ),
            "waits" => format!(
                "{what}: it waits for a second person, receipt {receipt}\n{image}  they agree within 24 hours with: deliveryos promote --service {} --to {} --tag {} --agree {receipt}",
                facts.service, facts.environment, facts.tag
            ),
            _ => format!("{what}: refused, receipt {receipt}\n{image}  - {}", facts.refusals.join("\n  - ")),
        })?;
    }
    // Only what is there by now is a yes.
    Ok(if facts.decision == "copied" { ExitCode::SUCCESS } else { ExitCode::from(REFUSED) })
}

async fn copy(
    options: &args::Promote,
    source: &Reference,
    destination: &Reference,
    at: &registry::At,
    tag: Option<Tag>,
) -> anyhow::Result<Report> {
    let to = destination;
    let source = place::open(source, false, options.plain_http).await?;
    let destination = place::open(destination, !options.dry_run, options.plain_http).await;
    let destination = match destination {
        // A dry run makes no folder: into one that is not there, everything would be copied.
        Err(_) if options.dry_run && matches!(to, Reference::Layout { .. }) => {
            return Err(WrongUse(format!(
                "{to} is no layout yet; a dry run makes none: without --dry-run everything is copied"
            ))
            .into());
        }
        opened => opened?,
    };
    let wanted = Options {
        tag,
        move_tag: options.move_tag,
        platform: options.platform.clone(),
        trust_blobs: options.trust_blobs,
        dry_run: options.dry_run,
    };
    let bar = print::bytes_bar("copying");
    let tell = |progress: Progress| match progress {
        Progress::Planned { copy, verify } => bar.set_length(copy + verify),
        Progress::Copied(bytes) => bar.inc(bytes),
        Progress::Verified(bytes) => {
            bar.set_message("reading back");
            bar.inc(bytes);
        }
    };
    let report = promote(&*source, at, &*destination, &wanted, &tell).await.map_err(place::refusal);
    bar.finish_and_clear();
    report
}

fn say(report: &Report) -> anyhow::Result<()> {
    let tag = report.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
    let verb = if report.dry_run { "would be copied" } else { "copied" };
    print::line(&format!("{} {verb}\n  from {}\n  to   {}{tag}", report.digest, report.source, report.destination))?;
    print::line(&format!(
        "  {} manifests; {} of {} blobs, {} of {} bytes were not there yet",
        report.manifests, report.blobs_copied, report.blobs, report.bytes_copied, report.bytes
    ))?;
    if report.evidence.is_empty() {
        print::line("  no evidence: nothing refers to this image")?;
    }
    for e in &report.evidence {
        let what = e.predicate_type.as_deref().unwrap_or(&e.artifact_type);
        print::line(&format!("  evidence {} {what}\n    about {}", e.digest, e.subject))?;
    }
    for note in &report.notes {
        print::line(&format!("  not evidence: {note}"))?;
    }
    if report.dry_run {
        return Ok(());
    }
    print::line(match report.blobs_verified {
        "present" => "  verified at the destination: manifests byte for byte, blobs by presence and length only",
        _ => "  verified at the destination: every manifest and blob was read back and hashed",
    })?;
    print::line("  no receipt: the copy was made here, and no log was asked to record it")
}
