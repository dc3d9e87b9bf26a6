//! The drawings in rows: for those who cannot see them, and for those who want the numbers.
//!
//! The server writes them for readers without a script; the browser only while they are open, for they are most of the page's elements.

use maud::html;
use projections::say;

use super::{judge, page::Page};
use crate::timeline::{self, Axis, TableRow};

/// Rows of the timeline.
pub(super) fn timeline(p: &Page) -> String {
    if p.awake && !p.rows_open {
        return String::new();
    }
    of_timeline(&timeline::table(p.points(), &p.view().weights, p.axis()), p.axis())
}

/// Rows of what the judge said.
pub(super) fn evidence(p: &Page) -> String {
    if p.awake && !p.evidence_open || !judge::has(p) {
        return String::new();
    }
    of_evidence(p)
}

fn of_timeline(rows: &[TableRow], axis: Axis) -> String {
    html! {
        div.wide tabindex="0" role="region" aria-label="Values of the timeline" {
            table {
                caption.sr { "Values of the timeline, newest first" }
                thead {
                    tr {
                        th { "Since start" }
                        th { "UTC" }
                        th.n { "Weight" }
                        th.n { "p99 canary, ms" }
                        th.n { "p99 stable, ms" }
                        th.n { "limit, ms" }
                        th.n { "5xx canary, 10 s" }
                        th.n { "5xx stable, 10 s" }
                        th.n { "burn fast, slow" }
                        th.n { "canary requests" }
                    }
                }
                tbody {
                    @for r in rows {
                        tr {
                            td { (r.since) }
                            td { (r.at.clock()) }
                            @for value in [&r.weight, &r.canary_p99, &r.stable_p99, &r.limit, &r.canary_errors, &r.stable_errors, &r.burn, &r.canary_n] {
                                td.n { (value) }
                            }
                        }
                    }
                }
            }
        }
        p.mute { (band_note(axis)) }
    }
    .into_string()
}

fn of_evidence(p: &Page) -> String {
    let points = timeline::evidence_points(p.seen(), p.axis());
    let started = p.live.row.started;
    let every = points.len().div_ceil(timeline::MAX_ROWS).max(1);
    html! {
        div.wide tabindex="0" role="region" aria-label="What the judge said" {
            table {
                caption.sr { "What the judge said, newest first" }
                thead {
                    tr {
                        th { "Since start" }
                        th.n { "evidence" }
                        th.n { "highest so far" }
                        th.n { "p99 ratio" }
                        th.n { "5xx more than stable" }
                        th.n { "canary requests judged" }
                    }
                }
                tbody {
                    @for p in points.into_iter().rev().step_by(every) {
                        tr {
                            td { (say::axis(p.at.since(started))) }
                            td.n { (timeline::odds(p.power)) }
                            td.n { (timeline::odds(p.highest)) }
                            td.n { (timeline::ratio_words(p.ratio)) }
                            td.n { (timeline::difference_words(p.difference.map(Some))) }
                            td.n { (say::count(p.exposed)) }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}

/// What the lines are, in a sentence.
fn band_note(axis: Axis) -> String {
    let [(_, fast_limit, _, fast), (_, slow_limit, _, slow)] = ::judge::BURN_ALERTS;
    let seconds = match axis.grain() {
        1_000 => "that of each second".to_owned(),
        grain => format!("the mean of that of each second, over {}", say::clock(grain)),
    };
    let minutes = |s: u32| say::clock(i64::from(s) * 1000);
    format!(
        "p99 is {}. Limit, or tolerated (where one second above it decides nothing): the mean of stable's p99 over {} plus the allowed increase; the band one standard deviation around that mean. 5xx is the share of requests that failed over {}. Burn is the canary's share of failures over {} (fast, alerts from {fast_limit}) and {} (slow, from {slow_limit}), divided by what an objective of {} % leaves.",
        seconds,
        say::clock(timeline::BAND_OVER_MS),
        say::clock(timeline::ERRORS_OVER_MS),
        minutes(fast),
        minutes(slow),
        ::judge::DEFAULT_SLO * 100.0,
    )
}
