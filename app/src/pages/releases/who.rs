//! Who has it: how requests are shared out now, and how many the canary has had.

use maud::html;
use model::{Tick, Weight};
use projections::{ReleaseView, say};

use super::stages::setter;

/// The card, from the ticks until the moment that is shown.
pub(super) fn markup(v: &ReleaseView, seen: &[Tick], newest: bool) -> String {
    let sticky = seen.last().is_some_and(|t| t.sticky);
    let set_by = v.weights.last().and_then(|(at, weight)| setter(v, *at, *weight));
    let counted: u64 = seen.iter().filter_map(|t| t.canary.as_ref()).map(|c| c.n).sum();
    let all = counted.saturating_add(seen.iter().map(|t| t.stable.n).sum());
    // A receipt knows of seconds that are not kept, and of those in which the version was stable already.
    let canary = counted.max(v.row.exposed);
    let all = all.max(canary);
    let last = seen.last().filter(|_| v.row.in_flight());
    html! {
        section.who-has aria-labelledby="who-has" {
            h2 #who-has { "Who has it " span { (v.row.version) } }
            dl {
                dt { @if newest || v.row.in_flight() { "Now" } @else { "At its end" } }
                dd {
                    @if let Some(index) = set_by { a.door href={ "/receipts/" (index) } { (shared(v, sticky)) } } @else { (shared(v, sticky)) }
                }
                dt { @match seen.last() { Some(tick) => { "Until " (tick.at.clock()) }, None => "So far" } }
                dd {
                    @match say::share(canary, all) {
                        Some(share) => { (say::count(canary)) " of " (say::plural(all, "request", "requests")) ", " (say::ratio(share)) },
                        None => span.mute { "n/a, no second with requests has been counted" },
                    }
                }
                @if let Some(tick) = last {
                    dt { "Last second" }
                    dd {
                        @let canary = tick.canary.as_ref().map_or(0, |c| c.n);
                        (say::count(canary)) " of " (say::plural(canary.saturating_add(tick.stable.n), "request", "requests"))
                    }
                }
                dt { "Flags" }
                dd { span.mute { "n/a, this server has no flag service" } }
            }
        }
    }
    .into_string()
}

/// How requests are shared out.
fn shared(v: &ReleaseView, sticky: bool) -> String {
    match v.row.weight {
        Weight::ZERO => format!("nobody: every request goes to {}", v.stable_version),
        Weight::FULL => "everybody".to_owned(),
        weight if sticky => format!(
            "sessions 0 to {} of 100, by the hash of their key: who has it keeps it",
            weight.percent().saturating_sub(1)
        ),
        weight => format!("{} of every 100 requests, whoever they are from", weight.percent()),
    }
}

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_requests_are_shared_out() {
        let mut view = crate::gallery::sample_view();
        view.row.weight = Weight::new(25).unwrap();
        assert_eq!(shared(&view, false), "25 of every 100 requests, whoever they are from");
        assert_eq!(shared(&view, true), "sessions 0 to 24 of 100, by the hash of their key: who has it keeps it");
        view.row.weight = Weight::ZERO;
        assert!(shared(&view, true).starts_with("nobody: every request goes to "));
        let mut tick: Tick = serde_json::from_str(crate::gallery::SECOND).unwrap();
        tick.at = view.row.started.plus_millis(3_000);
        view.row.exposed = 8;
        let known = markup(&view, std::slice::from_ref(&tick), true);
        assert!(known.contains("<dd>8 of 20 requests, 40 %</dd>"), "{known}");
        view.row.exposed = 0;
        let some = markup(&view, &[tick], true);
        assert!(some.contains("<dt>Until 14:06:35</dt><dd>5 of 20 requests, 25 %</dd>"), "{some}");
        let none = markup(&view, &[], true);
        assert!(none.contains("n/a, no second with requests") && !none.contains("Last second"), "{none}");
    }
}
