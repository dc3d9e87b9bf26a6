//! The clocks of an abort: breach, 0 %, drained. Shown from the press on, measured at the data plane.

use maud::html;
use model::{
    Kind, Timestamp, Weight,
    event::{CanaryStepped, Outcome},
};
use projections::{Phase, ReleaseView, reason, say};
use receipts::Payload;

use crate::words;

/// One clock: what it measures, what it shows, and whether it still runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reading {
    name: &'static str,
    value: String,
    running: bool,
    receipt: Option<u64>,
}

/// The clocks of an abort or rollback; nothing without one. Those that come while somebody reads lie over the lower edge: in their place under
/// the headline they would push all that is read away.
pub(super) fn markup(v: &ReleaseView, now: Timestamp, comes: bool) -> String {
    let Some((index, f)) = v.aborted() else { return String::new() };
    let Some(p) = v.receipts.iter().find(|r| r.index == index).map(|r| &r.payload) else { return String::new() };
    // An abort is one until it has ended: only then is it known what it came to.
    let what = if v.row.phase == Phase::Ended(Outcome::RolledBack) { "Rolled back" } else { "Aborted" };
    let by = if f.automatic { "the judge" } else { p.actor.as_str() };
    html! {
        section.clocks.comes[comes] aria-label="Clocks of the abort" {
            p.why { a.door.state.bad href={ "/receipts/" (index) } { (what) " by " (by) } ": " (why(p, f.automatic)) }
            @if let Some((at, said, rule)) = words::counts_of_abort(v) {
                p.rule { a.door href={ "/receipts/" (at) } title=(rule) { (said) } }
            }
            ol {
                @for r in readings(v, now) {
                    li.running[r.running] {
                        span { (r.name) }
                        a.door href=[r.receipt.map(|i| format!("/receipts/{i}"))] { b { (r.value) } }
                    }
                }
            }
        }
    }
    .into_string()
}

/// The reason: a finding as it is, in quotation marks what a person wrote.
fn why(p: &Payload, automatic: bool) -> String {
    match reason(p) {
        None => "no reason given".to_owned(),
        Some(said) if automatic => said,
        Some(said) => format!("“{said}”"),
    }
}

fn readings(v: &ReleaseView, now: Timestamp) -> Vec<Reading> {
    let Some((abort_index, f)) = v.aborted() else { return Vec::new() };
    let after = || v.receipts.iter().filter(move |r| r.index > abort_index);
    let zero = after().find_map(|r| {
        let s: CanaryStepped = r.payload.facts().ok().filter(|_| r.payload.kind == Kind::CanaryStepped)?;
        (s.weight == Weight::ZERO).then_some((r.index, s.applied_at))
    });
    let done = v.completed.as_ref().filter(|_| v.row.ended.is_some());
    let done_index = after().find(|r| r.payload.kind == Kind::CanaryCompleted).map(|r| r.index);
    let over = matches!(v.row.phase, Phase::Ended(_));
    let running = |since: Timestamp| (say::clock(now.since(since)), true);
    let unknown = || ("n/a".to_owned(), false);

    let (to_zero, zero_runs) = match (done.and_then(|d| d.breach_to_zero_ms), zero) {
        (Some(ms), _) => (say::duration(ms), false),
        (None, Some((_, at))) => (say::duration(at.since(f.breach_at)), false),
        (None, None) if over => unknown(),
        (None, None) => running(f.breach_at),
    };
    let (to_drained, drain_runs) = match (done.and_then(|d| d.zero_to_drained_ms), zero) {
        (Some(ms), _) => (say::duration(ms), false),
        (None, _) if over => unknown(),
        (None, Some((_, at))) => running(at),
        (None, None) => ("waits for 0 %".to_owned(), false),
    };
    let mut out = vec![
        Reading {
            name: if f.automatic { "breach" } else { "pressed" },
            value: f.breach_at.clock(),
            running: false,
            receipt: Some(abort_index),
        },
        Reading { name: "to 0 %", value: to_zero, running: zero_runs, receipt: zero.map(|(i, _)| i).or(done_index) },
        Reading { name: "0 % to drained", value: to_drained, running: drain_runs, receipt: done_index },
    ];
    if let Some(d) = done {
        if let Some(ms) = d.breach_to_last_request_ms {
            let value = if ms < 0 { "none followed".to_owned() } else { say::duration(ms) };
            out.insert(2, Reading { name: "to the last request", value, running: false, receipt: done_index });
        }
        let value = say::plural(d.exposed, "request", "requests");
        out.push(Reading { name: "served by the canary in all", value, running: false, receipt: done_index });
        if let Some(ms) = d.rto_ms {
            out.push(Reading { name: "recovered in", value: say::duration(ms), running: false, receipt: done_index });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_person_wrote_is_quoted() {
        for (reason, automatic, said) in [
            ("payments fail", false, "“payments fail”"),
            ("abort by dana", false, "no reason given"),
            ("rollback by dana", false, "no reason given"),
            ("", false, "no reason given"),
            ("abort by lee", false, "“abort by lee”"),
            ("p99 is above its limit", true, "p99 is above its limit"),
        ] {
            let facts = serde_json::json!({ "reason": reason });
            let by = "dana".parse().unwrap();
            let payload = Payload::new(Kind::CanaryAborted, Timestamp::from_millis(0), by, &facts).unwrap();
            assert_eq!(why(&payload, automatic), said);
        }
    }
}
