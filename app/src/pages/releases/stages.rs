//! Stage by stage: what each weight served and how it compared, with the verdict that was reached there.

use leptos::prelude::{Get, IntoView, RwSignal, Signal, With, component};
use maud::{Markup, Render, html};
use model::{
    Kind, Tick, Timestamp, Weight,
    event::{AnalysisEnded, CanaryStepped},
};
use projections::{Receipt, ReleaseView, say};

use crate::components::{room, written};
use crate::words::Tone;

/// A time at one weight above 0.
#[derive(Debug, Clone, PartialEq)]
struct Stage {
    weight: Weight,
    from: Timestamp,
    took_ms: i64,
    /// The receipt that set the weight.
    set_by: Option<u64>,
    /// What was counted in it.
    seen: Seen,
    /// The last verdict in it, with its receipt.
    verdict: Option<(Tone, &'static str, u64)>,
}

/// Counts and latencies of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Seen {
    n: u64,
    errors: u64,
    canary_p99: Option<f64>,
    stable_p99: Option<f64>,
    /// True for the judge's own window, from its receipt; else the means of the seconds that are drawn.
    judged: bool,
}

/// The table; nothing before the first stage.
#[component]
pub fn Stages(
    /// The release.
    view: RwSignal<ReleaseView>,
    /// Its ticks.
    ticks: RwSignal<Vec<Tick>>,
    /// The moment that is shown.
    now: Signal<Timestamp>,
) -> impl IntoView {
    let markup =
        written(move || view.with(|v| ticks.with(|t| markup(&stages(v, t, v.row.ended.unwrap_or(now.get())), v))));
    room(markup)
}

fn markup(stages: &[Stage], view: &ReleaseView) -> String {
    if stages.is_empty() {
        return String::new();
    }
    html! {
        section.stages aria-labelledby="stages" {
            h2 #stages { "Stage by stage" }
            div.wide tabindex="0" role="region" aria-labelledby="stages" {
                table {
                    thead {
                        tr {
                            th { "Weight" }
                            th.n { "From" }
                            th.n { "Took" }
                            th.n { "Requests" }
                            th.n { "5xx" }
                            th.n { "p99 canary : stable" }
                            th { "Verdict" }
                        }
                    }
                    tbody {
                        @for stage in stages { (row(stage, view)) }
                    }
                }
            }
        }
    }
    .into_string()
}

fn row(s: &Stage, view: &ReleaseView) -> Markup {
    let source = if s.seen.judged {
        "what the judge had before it, from the receipt of its verdict"
    } else {
        "so far, from the seconds drawn above: no verdict over this stage yet"
    };
    // A number opens what it was computed from: the verdict's receipt, or the one that set the weight.
    let from = s.verdict.filter(|_| s.seen.judged).map(|(_, _, i)| i).or(s.set_by);
    let door = |from: Option<u64>, said: &dyn Render| match from {
        Some(i) => html! { a.door href={ "/receipts/" (i) } { (said) } },
        None => said.render(),
    };
    // What is aligned to the right and says something new is a new text: it does not move from where a shorter one began.
    let new = |said: &str| html! { span data-key=(said) { (said) } };
    let ms = |v: Option<f64>| v.map_or_else(|| "n/a".to_owned(), say::latency);
    let p99 = format!("{} : {} ms", ms(s.seen.canary_p99), ms(s.seen.stable_p99));
    let ratio = say::share(s.seen.errors, s.seen.n).map_or_else(|| "n/a".to_owned(), say::ratio);
    html! {
        tr title=(source) {
            td { (door(s.set_by, &html! { b { (s.weight.to_string()) } })) }
            td.n { (say::axis(s.from.since(view.row.started))) }
            td.n { (new(&say::clock(s.took_ms))) }
            td.n { (door(from, &new(&say::count(s.seen.n)))) }
            td.n { (door(from, &new(&ratio))) }
            td.n { (door(from, &new(&p99))) }
            td {
                @if let Some((tone, word, i)) = s.verdict {
                    a class={ "door state " (tone.class()) } href={ "/receipts/" (i) } { (word) }
                } @else {
                    span.mute { @if view.row.in_flight() { "none yet" } @else { "none" } }
                }
            }
        }
    }
}

fn stages(v: &ReleaseView, ticks: &[Tick], until: Timestamp) -> Vec<Stage> {
    let set_by: Vec<Option<u64>> = v.weights.iter().map(|(at, w)| setter(v, *at, *w)).collect();
    let ends = v.weights.iter().skip(1).map(|(at, _)| *at).chain([until]);
    let next = set_by.iter().skip(1).copied().chain([None]);
    let spans = v.weights.iter().zip(ends).zip(set_by.iter().zip(next)).filter(|(((_, w), _), _)| w.percent() > 0);
    spans
        .map(|(((from, weight), to), (set_by, next))| {
            let to = to.max(*from);
            // A verdict belongs to the weight that was set last before it was written down.
            let within = |i: u64| set_by.is_some_and(|s| i > s) && next.is_none_or(|n| i < n);
            let verdict = v.receipts.iter().rev().filter(|r| within(r.index)).find_map(|r| {
                let (tone, word) = crate::words::verdict(r.payload.kind)?;
                Some((tone, word, r.index, r.payload.facts::<AnalysisEnded>().ok()?))
            });
            let judged = verdict.as_ref().and_then(|(_, _, _, f)| {
                // A rule that counts over the whole rollout states no p99 of the stage: then the stage's own seconds are counted.
                let (canary, stable) = (f.canary.as_ref()?, f.stable.as_ref());
                Some(Seen {
                    n: canary.n,
                    errors: canary.errors,
                    canary_p99: Some(canary.p99_ms?),
                    stable_p99: stable.and_then(|s| s.p99_ms),
                    judged: true,
                })
            });
            Stage {
                weight: *weight,
                from: *from,
                took_ms: to.since(*from),
                set_by: *set_by,
                seen: judged.unwrap_or_else(|| counted(ticks, *from, to)),
                verdict: verdict.map(|(tone, word, i, _)| (tone, word, i)),
            }
        })
        .collect()
}

/// The receipt that set a weight.
fn setter(v: &ReleaseView, at: Timestamp, weight: Weight) -> Option<u64> {
    let sets = |r: &&Receipt| match r.payload.kind {
        Kind::CanaryStepped => {
            r.payload.facts::<CanaryStepped>().is_ok_and(|f| f.applied_at == at && f.weight == weight)
        }
        Kind::CanaryPromoted | Kind::CanaryAborted | Kind::CanaryCompleted => r.payload.time == at,
        _ => false,
    };
    v.receipts.iter().find(sets).map(|r| r.index)
}

/// Counts of the seconds between two times, p99 as the mean of that of each second, by requests.
fn counted(ticks: &[Tick], from: Timestamp, to: Timestamp) -> Seen {
    let first = ticks.partition_point(|t| t.at <= from);
    let end = ticks.partition_point(|t| t.at <= to);
    let own = ticks.get(first..end.max(first)).unwrap_or_default();
    let canary = || own.iter().filter_map(|t| t.canary.as_ref());
    let mean = |values: &mut dyn Iterator<Item = (f64, u64)>| {
        let (sum, n) = values.fold((0.0, 0.0), |(s, n), (p, w)| (s + p * w.max(1) as f64, n + w.max(1) as f64));
        (n > 0.0).then(|| sum / n)
    };
    Seen {
        n: canary().map(|c| c.n).sum(),
        errors: canary().map(|c| c.errors).sum(),
        canary_p99: mean(&mut canary().filter_map(|c| Some((c.p99_ms?, c.n)))),
        stable_p99: mean(&mut own.iter().filter_map(|t| Some((t.stable.p99_ms?, t.stable.n)))),
        judged: false,
    }
}
