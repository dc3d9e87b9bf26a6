//! The gates of a release: what scanners and checklists said, and what the policy made of it.

use leptos::prelude::*;
use model::{Kind, gate::GatesDecided};
use projections::{ReleaseView, say};

use crate::words::Tone;

/// The section; nothing as long as no gate was asked.
#[component]
pub fn GatesCard(
    /// The release.
    view: RwSignal<ReleaseView>,
) -> impl IntoView {
    let last = Memo::new(move |_| {
        view.with(|v| {
            let gates = v.receipts.iter().filter(|r| matches!(r.payload.kind, Kind::GatesPassed | Kind::GatesFailed));
            let (at, count) = gates.fold((None, 0_u64), |(_, n), r| (Some(r), n + 1));
            at.and_then(|r| Some((r.index, count, r.payload.facts::<GatesDecided>().ok()?)))
        })
    });
    move || last.get().map(|(index, count, facts)| view! { <Decided index count facts/> })
}

#[component]
fn Decided(index: u64, count: u64, facts: GatesDecided) -> impl IntoView {
    let passed = facts.decision == "passed";
    let tone = if passed { Tone::Good } else { Tone::Bad };
    let earlier = (count > 1).then(|| format!(" · the last of {}", say::plural(count, "decision", "decisions")));
    let difference = facts
        .new
        .zip(facts.fixed)
        .map(|(new, fixed)| format!("{} new, {} fixed against the release before", say::count(new), say::count(fixed)));
    let hidden = facts.findings.saturating_sub(facts.top.len() as u64);
    let more_reasons = facts.reasons_total.saturating_sub(facts.reasons.len() as u64);
    let all = format!("/api/v1/segments/{}", facts.segment);
    let sentence = format!(
        "{} in {}, {} not let pass, {} waived, by the policy “{}”",
        say::plural(facts.findings, "finding", "findings"),
        say::plural(facts.reports.len() as u64, "report", "reports"),
        say::count(facts.failing),
        say::count(facts.waived),
        facts.policy,
    );
    view! {
        <section aria-labelledby="gates" class="gates">
            <h2 id="gates">"Gates " <span>
                <a class=format!("door state {}", tone.class()) href=format!("/receipts/{index}")>
                    {if passed { "passed" } else { "failed" }}", receipt "{say::count(index)}
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
            <table>
                <thead><tr><th scope="col">"report"</th><th scope="col">"tool"</th><th scope="col">"scan of"</th><th scope="col">"findings"</th><th scope="col">"not let pass"</th></tr></thead>
                <tbody>
                    {facts.reports.into_iter().map(|r| view! {
                        <tr>
                            <td><a class="door" href=format!("/api/v1/segments/{}", r.segment) rel="external">{r.name}</a></td>
                            <td>{r.tool.unwrap_or_else(|| "cannot be read".to_owned())}</td>
                            <td>{r.scanned_at.map_or_else(|| "not stated".to_owned(), say::exact)}</td>
                            <td>{say::count(r.findings)}</td>
                            <td>{say::count(r.failing)}</td>
                        </tr>
                    }).collect_view()}
                </tbody>
            </table>
            {(!facts.top.is_empty()).then(|| view! {
                <table>
                    <thead><tr><th scope="col">"finding"</th><th scope="col">"severity"</th><th scope="col">"where"</th><th scope="col">"fixed in"</th><th scope="col">"what"</th></tr></thead>
                    <tbody>
                        {facts.top.into_iter().map(|f| view! {
                            <tr>
                                <td>{f.tool}" "<b>{f.rule}</b>" "<span class="mute">{f.standing}</span></td>
                                <td>{f.severity}</td>
                                <td>{f.place}</td>
                                <td>{f.fixed_version.unwrap_or_default()}</td>
                                <td>{f.title}{f.why.map(|w| format!(" ({w})"))}</td>
                            </tr>
                        }).collect_view()}
                    </tbody>
                </table>
            })}
            <p class="mute">
                <a class="door" href=all rel="external">"The whole decision"</a>
                {(hidden > 0).then(|| format!(", with {} more", say::plural(hidden, "finding", "findings")))}
                ". Read and decided by the server, from the reports that were handed in."
            </p>
        </section>
    }
}
