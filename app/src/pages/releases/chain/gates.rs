//! The gates of a release: what scanners and checklists said, and what the policy made of it.

use leptos::prelude::*;
use model::gate::{GateFinding, GateReport, GatesDecided, NotRun};
use projections::say;

use crate::words::Tone;

/// The section, for the last of `count` decisions.
pub(super) fn decided(index: u64, count: u64, facts: GatesDecided) -> AnyView {
    let (tone, word) = outcome(&facts);
    let earlier = (count > 1).then(|| format!(" · the last of {}", say::plural(count, "decision", "decisions")));
    let difference = facts
        .new
        .zip(facts.fixed)
        .map(|(new, fixed)| format!("{} new, {} fixed against the release before", say::count(new), say::count(fixed)));
    let hidden = facts.findings.saturating_sub(facts.top.len() as u64);
    let more_reasons = facts.reasons_total.saturating_sub(facts.reasons.len() as u64);
    let all = format!("/api/v1/segments/{}", facts.segment);
    let sentence = format!(
        "{} in {}. The policy “{}” stops {} of them and waives {}",
        say::plural(facts.findings, "finding", "findings"),
        say::plural(facts.reports.len() as u64, "report", "reports"),
        facts.policy,
        say::count(facts.failing),
        say::count(facts.waived),
    );
    view! {
        <section aria-labelledby="gates" class="gates">
            <h2 id="gates">"Gates " <span>
                <a class=format!("door state {}", tone.class()) href=format!("/receipts/{index}")>
                    {word}", receipt "{say::count(index)}
                </a>
                {earlier}
            </span></h2>
            <p>{sentence}{difference.map(|d| format!(". {d}"))}"."</p>
            {(!facts.reasons.is_empty()).then(|| view! {
                <ul class="reasons">
                    {facts.reasons.into_iter().map(|r| view! { <li>{r}</li> }).collect_view()}
                    {(more_reasons > 0).then(|| view! { <li>"and "{say::count(more_reasons)}" more"</li> })}
                </ul>
            })}
            <div class="wide"><table>
                <thead><tr><th scope="col">"tool"</th><th scope="col">"report"</th><th scope="col">"scan of"</th><th scope="col" class="n">"findings"</th><th scope="col" class="n">"stopped"</th></tr></thead>
                <tbody>
                    {facts.reports.into_iter().map(report).collect_view()}
                    {facts.not_run.into_iter().map(not_run).collect_view()}
                </tbody>
            </table></div>
            {(!facts.top.is_empty()).then(|| view! {
                <div class="wide"><table class="findings">
                    <thead><tr><th scope="col">"standing"</th><th scope="col">"severity"</th><th scope="col">"finding"</th><th scope="col">"where"</th><th scope="col">"fixed in"</th></tr></thead>
                    <tbody>
                        {facts.top.into_iter().map(finding).collect_view()}
                    </tbody>
                </table></div>
            })}
            <p class="mute">
                <a class="door" href=all rel="external">"The whole decision"</a>
                {(hidden > 0).then(|| format!(", with {} more", say::plural(hidden, "finding", "findings")))}
                ". Read and decided by the server, from the reports that were handed in."
            </p>
        </section>
    }
    .into_any()
}

/// How the gates stand: passed is plain green only when everything that was to run has run.
pub(super) fn outcome(facts: &GatesDecided) -> (Tone, String) {
    match (facts.decision == "passed", facts.not_run.len() as u64) {
        (true, 0) => (Tone::Good, "passed".to_owned()),
        (true, n) => {
            let reports = say::plural(facts.reports.len() as u64, "report", "reports");
            (Tone::Wait, format!("passed on {reports}, {} not run", say::plural(n, "scanner", "scanners")))
        }
        (false, _) => (Tone::Bad, "failed".to_owned()),
    }
}

fn report(r: GateReport) -> AnyView {
    let (tone, tool) = match (r.tool, r.failing) {
        (None, _) => (Tone::Bad, "cannot be read".to_owned()),
        (Some(tool), 0) => (Tone::Good, tool),
        (Some(tool), _) => (Tone::Bad, tool),
    };
    view! {
        <tr>
            <td><span class=format!("state {}", tone.class())>{tool}</span></td>
            <td><a class="door" href=format!("/api/v1/segments/{}", r.segment) rel="external">{r.name}</a></td>
            <td>{r.scanned_at.map_or_else(|| "not stated".to_owned(), say::exact)}</td>
            <td class="n">{say::count(r.findings)}</td>
            <td class="n">{say::count(r.failing)}</td>
        </tr>
    }
    .into_any()
}

fn not_run(tool: NotRun) -> AnyView {
    view! {
        <tr>
            <td><span class="state unknown">{tool.tool}</span></td>
            <td class="w mute" colspan="4">"not run: "{tool.why}</td>
        </tr>
    }
    .into_any()
}

fn finding(f: GateFinding) -> AnyView {
    let tone = match f.standing.as_str() {
        "fails" => Tone::Bad,
        "waived" | "suppressed" => Tone::Wait,
        _ => Tone::Good,
    };
    view! {
        <tr>
            <td><span class=format!("state {}", tone.class())>{f.standing}</span></td>
            <td>{f.severity}</td>
            <td class="w"><b>{f.rule}</b>" "<span class="mute">{f.tool}</span><br/>{f.title}{f.why.map(|w| format!(" ({w})"))}</td>
            <td class="w place">{f.place}</td>
            <td>{f.fixed_version.unwrap_or_else(|| "not stated".to_owned())}</td>
        </tr>
    }
    .into_any()
}
