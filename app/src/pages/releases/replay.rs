//! Looking back: the whole page as it was at a moment of a release that is over, folded again from its receipts.

use maud::html;
use projections::say;

use super::page::Page;

/// Whole seconds, none cut off.
pub(super) fn up(ms: i64) -> i64 {
    ms.saturating_add(999) / 1000
}

/// Play, a slider, and the way back to the end.
pub(super) fn markup(p: &Page) -> String {
    let (over, at) = (p.length(), p.past());
    if over == 0 {
        return String::new();
    }
    let shown = at.unwrap_or(over);
    let said = format!("{} of {}", say::axis(shown), say::axis(over));
    html! {
        form.replay method="get" {
            button.play type="submit" aria-pressed=(p.playing) { @if p.playing { "Hold" } @else { "Replay" } }
            input type="range" name="at" min="0" max=(up(over)) step="1" value=(up(shown)) aria-label="Look back at" aria-valuetext=(said);
            span.mute.at { (said) }
            button.to-end type="button" disabled[at.is_none()] { "To the end" }
        }
    }
    .into_string()
}
