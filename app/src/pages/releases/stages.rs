//! Stage by stage: what each weight served and how it compared, with the verdict that was reached there.

use maud::{Markup, Render, html};
use model::{
    Kind, Tick, Timestamp, Weight,
    event::{AnalysisEnded, CanaryStepped},
};
use projections::{Receipt, ReleaseView, say};

use crate::words::Tone;

/// A time at one weight above 0.
#[derive(Debug, Clone, PartialEq)]
struct Stage {
    weight: Weight,
    from: Timestamp,
    took_ms: i64,
    /// The receipt that set the weight.
    set_by: Option<u64>,
    /// The one that set the next.
    next: Option<u64>,
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
    /// When the last of it was counted.
    until: Timestamp,
    /// True for the judge's own window, from its receipt; else the means of the seconds that are drawn.
    judged: bool,
}

/// What its columns say.
const HEADS: [&str; 8] = ["Weight", "From", "Took", "Requests", "5xx", "p99 canary", "p99 stable", "Verdict"];
/// Those of them that are numbers.
const NUMBERS: &[&str] = &["From", "Took", "Requests", "5xx", "p99 canary", "p99 stable"];

/// The table; nothing before the first stage.
pub(super) fn markup(view: &ReleaseView, ticks: &[Tick], until: Timestamp) -> String {
    let stages = stages(view, ticks, until);
    if stages.is_empty() {
        return String::new();
    }
    html! {
        section.stages aria-labelledby="stages" {
            h2 #stages { "Stage by stage" }
            div.wide tabindex="0" role="region" aria-label="What each stage served" {
                table {
                    thead { tr { @for head in HEADS { th.n[NUMBERS.contains(&head)] { (head) } } } }
                    tbody {
                        @for stage in &stages { (row(stage, view)) }
                    }
                }
            }
        }
    }
    .into_string()
}

fn row(s: &Stage, view: &ReleaseView) -> Markup {
    let counted = if s.seen.judged { "judged" } else { "counted" };
    // A number opens what it was computed from: the verdict's receipt, or the one that set the weight.
    let from = s.verdict.filter(|_| s.seen.judged).map(|(_, _, i)| i).or(s.set_by);
    let door = |from: Option<u64>, said: &dyn Render| match from {
        Some(i) => html! { a.door href={ "/receipts/" (i) } { (said) } },
        None => said.render(),
    };
    // What is aligned to the right and says something new is a new text: it does not move from where a shorter one began.
    let new = |said: &str| html! { span data-key=(said) { (said) } };
    let ms = |v: Option<f64>| v.map_or_else(|| "n/a".to_owned(), |v| format!("{} ms", say::latency(v)));
    let ratio = say::share(s.seen.errors, s.seen.n).map_or_else(|| "n/a".to_owned(), say::ratio);
    let verdict = match s.verdict {
        Some((tone, word, i)) => {
            html! { a class={ "door state " (tone.class()) } href={ "/receipts/" (i) } { (word) } }
        }
        None => html! { span.mute { @if view.row.in_flight() { "none yet" } @else { "none" } } },
    };
    let cells = [
        door(s.set_by, &html! { b { (s.weight.to_string()) } }),
        door(s.set_by, &say::axis(s.from.since(view.row.started))),
        door(s.next, &new(&say::clock(s.took_ms))),
        door(from, &new(&say::count(s.seen.n))),
        door(from, &new(&ratio)),
        door(from, &new(&ms(s.seen.canary_p99))),
        door(from, &new(&ms(s.seen.stable_p99))),
        verdict,
    ];
    html! {
        tr title={ (counted) " until " (s.seen.until.clock()) } {
            @for (head, cell) in HEADS.iter().zip(cells) {
                td.n[NUMBERS.contains(head)] data-head=(head) { (cell) }
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
                let (tone, word) = crate::words::verdict_of(&r.payload)?;
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
                    until: f.to.unwrap_or(to),
                    judged: true,
                })
            });
            Stage {
                weight: *weight,
                from: *from,
                took_ms: to.since(*from),
                set_by: *set_by,
                next,
                seen: judged.unwrap_or_else(|| counted(ticks, *from, to)),
                verdict: verdict.map(|(tone, word, i, _)| (tone, word, i)),
            }
        })
        .collect()
}

/// The receipt that set a weight.
pub(super) fn setter(v: &ReleaseView, at: Timestamp, weight: Weight) -> Option<u64> {
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
        until: own.last().map_or(from, |t| t.at),
        judged: false,
    }
}

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use model::Verdict;

    use super::*;

    #[test]
    fn a_stage_says_until_when_it_is_counted() {
        let view = crate::gallery::sample_view();
        let (set, _) = view.weights[1];
        let second = |s: i64| {
            let mut tick: Tick = serde_json::from_str(crate::gallery::SECOND).unwrap();
            tick.at = set.plus_millis(s * 1_000);
            tick
        };
        let until = set.plus_millis(9_000);
        let unjudged = |mut view: ReleaseView| {
            view.receipts.retain(|r| crate::words::verdict(r.payload.kind).is_none());
            view
        };
        let counted = markup(&unjudged(view.clone()), &[second(1), second(3)], until);
        for said in ["counted until 14:06:37", ">208 ms<", ">202 ms<", ">10<", ">20 %<", ">none yet<"] {
            assert!(counted.contains(said), "{said:?} is missing in {counted}");
        }
        let verdict = view.receipts.iter().find(|r| crate::words::verdict(r.payload.kind).is_some()).unwrap();
        let facts: AnalysisEnded = verdict.payload.facts().unwrap();
        assert_eq!(facts.verdict, Verdict::Successful);
        let judged = markup(&view, &[second(1)], until);
        let said = format!("title=\"judged until {}\"", facts.to.unwrap().clock());
        assert!(judged.contains(&said), "{said:?} is missing in {judged}");
    }
}
