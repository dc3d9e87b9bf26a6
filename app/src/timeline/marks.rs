//! Marks: flags, people, verdicts, receipts. Each is a link to its receipt.

use std::fmt::Write as _;

use model::{Kind, Timestamp};
use projections::{Receipt, ReleaseView, describe, say};

use super::{Axis, LEFT, RIGHT, WIDTH, backend::escape, lanes::names};

/// Height of a lane.
const LANE: i32 = 32;
/// The middles of the lanes.
const FLAGS: i32 = LANE / 2;
const PEOPLE: i32 = FLAGS + LANE;
const VERDICTS: i32 = PEOPLE + LANE;
const RECEIPTS: i32 = VERDICTS + LANE;
/// Height of the lanes, without the axis below them.
pub(super) const LANES_HEIGHT: i32 = RECEIPTS + LANE / 2;
/// With the axis.
pub(super) const HEIGHT: i32 = LANES_HEIGHT + 26;
/// Characters of a name before it is cut.
const MAX_LABEL: usize = 34;
/// Width of a letter at 12 px, generously.
const LETTER: f64 = 6.6;

/// Flags, people, verdicts and receipts as an SVG element with links, after one with the names of these lanes.
pub fn marks(view: &ReleaseView, axis: Axis) -> String {
    let lanes = [("Flags", FLAGS), ("People", PEOPLE), ("Verdicts", VERDICTS), ("Receipts", RECEIPTS)];
    let mut out = names(HEIGHT.unsigned_abs(), &lanes.map(|(name, middle)| (name, "", middle)), "");
    let _ = write!(
        out,
        "<svg class=\"tl-marks\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"group\" aria-label=\"Flags, people, verdicts and receipts over time\">"
    );
    for (_, middle) in lanes {
        let y = middle + LANE / 2;
        let _ = write!(out, "<line class=\"tl-rule\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y}.5\" y2=\"{y}.5\"/>");
    }
    let said = said(view);
    flags(&mut out, view, axis, &said);
    people(&mut out, view, axis, &said);
    verdicts(&mut out, view, axis, &said);
    for r in view.receipts.iter().filter(|r| axis.shows(r.payload.time)) {
        let key = if is_key(r.payload.kind) { " key" } else { "" };
        let x = axis.x(r.payload.time) - 1.5;
        link(
            &mut out,
            &said,
            r,
            "",
            &format!(
                "<g transform=\"translate({x:.1})\"><rect class=\"tl-mark{key}\" y=\"{}\" width=\"3\" height=\"12\" rx=\"1\"/><rect class=\"tl-hit\" x=\"-3\" y=\"{}\" width=\"9\" height=\"28\"/></g>",
                RECEIPTS - 6,
                RECEIPTS - 14,
            ),
        );
    }
    let (from, to, number) = (LANES_HEIGHT + 4, LANES_HEIGHT + 9, LANES_HEIGHT + 22);
    for ms in axis.ticks() {
        let x = axis.x(axis.origin.plus_millis(ms));
        let _ = write!(
            out,
            "<line class=\"tl-tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from}\" y2=\"{to}\"/><text class=\"tl-axis\" x=\"{x:.1}\" y=\"{number}\" text-anchor=\"middle\">{}</text>",
            say::axis(ms)
        );
    }
    out.push_str("</svg>");
    out
}

/// What each receipt says, by its index: several marks may lead to one.
type Said = Vec<(u64, String)>;

fn said(view: &ReleaseView) -> Said {
    let clock = |r: &Receipt| r.payload.time.clock();
    view.receipts.iter().map(|r| (r.index, format!("{} {}", clock(r), describe(r).sentence()))).collect()
}

/// A span in which a release was held: by a person, or by a pause without an end.
pub(super) struct Hold {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    by: String,
    reason: String,
}

impl Hold {
    /// By whom, for how long and why, as short as it fits.
    pub(super) fn said(&self) -> String {
        let reason = if self.reason.is_empty() { String::new() } else { format!(": {}", self.reason) };
        cut(&format!("held {} {}{reason}", say::axis(self.to.since(self.from)), self.by))
    }
}

/// The holds of a release up to `until`.
pub(super) fn holds(view: &ReleaseView, until: Timestamp) -> Vec<Hold> {
    let mut out = Vec::new();
    let mut since: Option<Hold> = None;
    for r in &view.receipts {
        let p = &r.payload;
        match p.kind {
            Kind::CanaryPaused if since.is_none() => {
                let facts = p.facts::<model::event::CanaryPaused>().ok().filter(|f| f.until.is_none());
                since = facts.map(|f| {
                    let (by, reason) = match f.reason.as_str() {
                        "step" => ("by the recipe".to_owned(), String::new()),
                        "person" => (format!("by {}", p.actor), String::new()),
                        "inconclusive" => ("for a decision".to_owned(), String::new()),
                        other => (format!("by {}", p.actor), other.to_owned()),
                    };
                    Hold { from: p.time, to: until, by, reason }
                });
            }
            Kind::CanaryResumed | Kind::CanaryPromoted | Kind::CanaryAborted | Kind::CanaryCompleted => {
                out.extend(since.take().map(|h| Hold { to: p.time, ..h }));
            }
            _ => {}
        }
    }
    out.extend(since);
    out
}

/// Flags that were changed in it; without a service of flags there are none, which is said.
fn flags(out: &mut String, view: &ReleaseView, axis: Axis, said: &Said) {
    let toggled = || view.receipts.iter().filter(|r| r.payload.kind == Kind::FlagToggled);
    if toggled().next().is_none() {
        let (x, y) = (LEFT + 6, FLAGS + 4);
        let _ = write!(out, "<text class=\"tl-unit\" x=\"{x}\" y=\"{y}\">n/a: this server has no flag service</text>");
    }
    for r in toggled().filter(|r| axis.shows(r.payload.time)) {
        let (x, y) = (axis.x(r.payload.time), FLAGS + 4);
        link(
            out,
            said,
            r,
            "",
            &format!("<text class=\"tl-shape\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">◆</text>"),
        );
    }
}

fn people(out: &mut String, view: &ReleaseView, axis: Axis, said: &Said) {
    let asked: Vec<(f64, &Receipt, &str)> = view
        .receipts
        .iter()
        .filter(|r| r.payload.kind == Kind::CommandAccepted && axis.shows(r.payload.time))
        .map(|r| {
            let verb = r.payload.facts.get("command").and_then(|c| c.as_str()).unwrap_or("command");
            (axis.x(r.payload.time).max(f64::from(LEFT)) + 4.0, r, verb)
        })
        .collect();
    // Words of neighbours that would run into each other stand together behind the last of them.
    let mut words = String::new();
    let mut last_actor = None;
    for (i, (x, r, verb)) in asked.iter().enumerate() {
        let actor = &r.payload.actor;
        if !words.is_empty() {
            words.push_str(", ");
        }
        if last_actor.replace(actor) != Some(actor) || words.is_empty() {
            words.push_str(actor.as_str());
            words.push(' ');
        }
        words.push_str(verb);
        let together = cut(&words);
        let width = 18.0 + together.chars().count() as f64 * LETTER;
        let mut inner = format!("<circle class=\"tl-who\" cx=\"{x:.1}\" cy=\"{}\" r=\"4\"/>", PEOPLE + 1);
        let read = asked.get(i + 1).is_none_or(|(next, ..)| x + width < *next);
        if read {
            let _ = write!(inner, "<text class=\"tl-small\" x=\"{:.1}\" y=\"{}\">", x + 9.0, PEOPLE + 5);
            escape(&mut inner, &together);
            inner.push_str("</text>");
            words.clear();
        }
        link(out, said, r, if read { &together } else { "" }, &inner);
    }
}

fn verdicts(out: &mut String, view: &ReleaseView, axis: Axis, said: &Said) {
    let shown = view.receipts.iter().filter(|r| axis.shows(r.payload.time));
    // Shape and word, not colour alone: passed is a tick, failed a square, undecided bars, not known a question mark.
    let marks = shown.filter_map(|r| {
        let (shape, class, word) = match r.payload.kind {
            Kind::AnalysisPassed if crate::words::verdict_of(&r.payload).is_some_and(|(_, word)| word != "passed") => {
                ("❙❙", "wait", "not stopped")
            }
            Kind::AnalysisPassed => ("✓", "ok", "passed"),
            Kind::AnalysisFailed => ("■", "bad", "failed"),
            Kind::AnalysisInconclusive => ("❙❙", "wait", "inconclusive"),
            Kind::AnalysisError => ("?", "unknown", "not known"),
            Kind::CanaryAborted => ("■", "bad", "aborted"),
            Kind::RollbackArmed => ("↶", "plain", "armed"),
            _ => return None,
        };
        Some((axis.x(r.payload.time), shape, class, word, r))
    });
    let mut marks = marks.peekable();
    while let Some((x, shape, class, word, r)) = marks.next() {
        let y = VERDICTS + 5;
        let mut inner =
            format!("<text class=\"tl-shape {class}\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{shape}</text>");
        // A word that would run into the next shape is left out: the shape says it too.
        let end = x + 16.0 + word.chars().count() as f64 * LETTER;
        let read = marks.peek().is_none_or(|(next, ..)| end < *next);
        if read {
            let _ = write!(inner, "<text class=\"tl-small\" x=\"{:.1}\" y=\"{y}\">{word}</text>", x + 9.0);
        }
        link(out, said, r, if read { word } else { "" }, &inner);
    }
}

/// A link to a receipt that says in its title what the receipt says. All marks together are one stop of the Tab key: the page's
/// code moves the focus among them, and the table of receipts has the same links for readers without it.
///
/// What is read at a mark begins its name, which is its title: who speaks to the page says what they see.
fn link(out: &mut String, said: &Said, r: &Receipt, read: &str, inner: &str) {
    let between = if read.is_empty() { "" } else { ", " };
    let at = said.binary_search_by_key(&r.index, |(index, _)| *index).ok();
    let said = at.and_then(|at| said.get(at)).map_or("", |(_, said)| said);
    let _ = write!(out, "<a class=\"tl-link\" tabindex=\"-1\" href=\"/receipts/{}\"><title>", r.index);
    escape(out, read);
    out.push_str(between);
    escape(out, said);
    let _ = write!(out, "</title>{inner}</a>");
}

fn is_key(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::CanaryStarted
            | Kind::CanaryStepped
            | Kind::CanaryPromoted
            | Kind::CanaryAborted
            | Kind::CanaryCompleted
            | Kind::CommandAccepted
            | Kind::ReleaseCompleted
    )
}

fn cut(said: &str) -> String {
    if said.chars().count() <= MAX_LABEL {
        said.to_owned()
    } else {
        said.chars().take(MAX_LABEL - 1).chain(['…']).collect()
    }
}
