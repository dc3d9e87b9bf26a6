//! `deliveryos promote`: the same bytes elsewhere, with all that proves what they are.

use std::{process::ExitCode, time::Duration};

use attest::Judgement;
use model::Digest;
use registry::{
    At, Place, Reference, Tag,
    graph::for_platform,
    promote::{Options, Progress, Report, promote},
};
use serde::Serialize;

use super::{
    client::{Client, random_id},
    place, print, verify,
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
    /// What its evidence proves, where a policy was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    judgement: Option<&'a Judgement>,
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
    let judged = match &options.policy {
        Some(policy) => {
            let opened = place::open(source, false, options.plain_http).await?;
            let image = chosen(&*opened, at.clone(), &options).await?;
            let (judgement, not_looked_at) = verify::judged(&*opened, &image, policy).await?;
            if !judgement.met {
                if global.json {
                    let reason = Some("its evidence does not meet the policy".to_owned());
                    print::json(&Said { decision: "refused", report: None, reason, judgement: Some(&judgement) })?;
                } else {
                    verify::say(&opened.name(), &judgement, &not_looked_at)?;
                    print::line("nothing was copied")?;
                }
                return Ok(ExitCode::from(REFUSED));
            }
            Some((judgement, not_looked_at, opened.name()))
        }
        None => None,
    };
    // What was judged is what is copied, whatever the tag names by then.
    let at = judged.as_ref().map_or(at, |(judgement, ..)| At::Digest(judgement.image.clone()));
    let needed = judged.as_ref().map(|(judgement, ..)| needed(judgement)).unwrap_or_default();
    let done = copy(&options, source, destination, &at, tag, needed).await;
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
        print::json(&Said { decision, report, reason, judgement: judged.as_ref().map(|(judgement, ..)| judgement) })?;
    }
    let report = done?;
    if !global.json {
        match &judged {
            Some((judgement, not_looked_at, place)) => verify::say(place, judgement, not_looked_at)?,
            None if report.dry_run => print::line("NOT VERIFIED: no --policy was named")?,
            None => print::line("NOT VERIFIED: no --policy was named; only that the bytes arrived is proved")?,
        }
        say(&report, judged.as_ref().map(|(judgement, ..)| judgement))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What of the source is copied, and so judged: of an index the image for one platform, where one is named.
async fn chosen(place: &dyn Place, at: At, options: &args::Promote) -> anyhow::Result<At> {
    let Some(platform) = &options.platform else { return Ok(at) };
    let root = place.manifest(&at).await.map_err(place::refusal)?;
    let image = for_platform(place, root, platform).await.map_err(place::refusal)?;
    Ok(At::Digest(image.descriptor.digest))
}

/// The evidence by which each requirement is met: it has to come along.
fn needed(judgement: &Judgement) -> Vec<Digest> {
    let first = judgement.requirements.iter().filter_map(|wanted| judgement.proved.get(*wanted.by.first()?));
    first.map(|proof| proof.evidence.clone()).collect()
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
    needed: Vec<Digest>,
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
        needed,
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

fn say(report: &Report, judgement: Option<&Judgement>) -> anyhow::Result<()> {
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
        let proof = judgement.and_then(|judgement| judgement.proved.iter().find(|proof| proof.evidence == e.digest));
        let proved = proof.map_or_else(|| "not verified".to_owned(), |proof| format!("proved, by {}", proof.signer));
        print::line(&format!("  evidence {} {what} ({proved})\n    about {}", e.digest, e.subject))?;
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
