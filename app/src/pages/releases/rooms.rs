//! The markup of a release's page: what stands, and the rooms in it that are written again when something changes.
//!
//! The page is one string from the server on. A room is an element with `data-room`; the browser's code ([`super::board`]) writes the rooms
//! whose bits are among what changed, and puts them into the document where their text is another one.

use maud::{PreEscaped, html};
use projections::{ReleaseView, say};

use super::{
    clocks, compare, controls, envelope, evidence, judge,
    page::{
        Page,
        changed::{
            ADDRESS, AGAIN, AWAKE, BELOW, BRUSH, CHECK, CLOCK, CURSOR, EVIDENCE_ROWS, GIVEN, IMAGE, PLACED, REPLAY,
            ROWS, STREAM, TICKS, VIEW, ZOOM,
        },
    },
    receipts, replay, rows, stages, timeline, who,
};
use crate::{components::digest, words};

/// A room.
pub(super) struct Room {
    /// Its `data-room`.
    pub(super) name: &'static str,
    /// What it is written from, as bits.
    pub(super) when: u32,
    /// True when nothing in it is focused or selected: it is replaced as a whole, which is quicker.
    pub(super) whole: bool,
    /// What is in it.
    pub(super) write: fn(&Page) -> String,
}

const fn room(name: &'static str, when: u32, write: fn(&Page) -> String) -> Room {
    Room { name, when, whole: false, write }
}

const fn drawing(name: &'static str, when: u32, write: fn(&Page) -> String) -> Room {
    Room { name, when, whole: true, write }
}

/// All rooms.
pub(super) const ROOMS: [Room; 32] = [
    drawing("as-of", VIEW | REPLAY | STREAM, as_of),
    drawing("headline", VIEW | STREAM, headline),
    room("stage", VIEW | CLOCK | STREAM, |p| text(&p.stage())),
    room("joules", VIEW, joules),
    room("controls", VIEW | AWAKE | GIVEN | TICKS | REPLAY, controls::buttons),
    room("outcome", GIVEN, controls::outcome),
    room("answer", ADDRESS | VIEW, answer),
    room("since", VIEW, since),
    room("evidence", VIEW | IMAGE, evidence::markup),
    room("clocks", VIEW | CLOCK, |p| clocks::markup(p.view(), p.now(), !p.stopped_before)),
    room("tl-read", VIEW | CURSOR | REPLAY, timeline::read),
    room("tl-zoom", ZOOM | PLACED, timeline::zoom),
    drawing("tl-lines", VIEW | TICKS | CLOCK | ZOOM, timeline::lines),
    room("tl-marks", VIEW | PLACED, timeline::marks),
    room("tl-over", CURSOR | PLACED | BRUSH, timeline::over),
    room("tl-rows", ROWS, rows::timeline),
    room("judge-head", VIEW | TICKS | CLOCK | CURSOR, judge::head),
    drawing("judge-lines", VIEW | TICKS | CLOCK | ZOOM, judge::lines),
    room("judge-over", CURSOR | PLACED | BRUSH, timeline::over_evidence),
    room("judge-promise", VIEW, judge::promise),
    room("judge-again", VIEW | AGAIN, judge::again),
    room("judge-rows", EVIDENCE_ROWS, rows::evidence),
    room("replay", VIEW | REPLAY, replay::markup),
    room("stages", VIEW | TICKS | CLOCK, |p| stages::markup(p.view(), &p.ticks, p.until())),
    room("envelope", VIEW, |p| envelope::markup(p.view())),
    room("who-has", VIEW | TICKS | CLOCK, |p| who::markup(p.view(), p.seen(), p.newest.is_none())),
    room("chain", IMAGE | BELOW, |p| below(p, |p| p.image.section.clone())),
    room("receipts-head", VIEW | ADDRESS, receipts::head),
    room("receipts-check", VIEW | CHECK, receipts::check),
    room("receipts-found", CHECK, receipts::found),
    room("receipts-rows", VIEW | ADDRESS | BELOW, |p| below(p, receipts::rows)),
    room("compare", VIEW | CLOCK | TICKS, |p| {
        compare::markup(&p.view().row, p.counted(), p.previous.as_ref(), p.now())
    }),
];

/// What lies below the first screen and is long: it comes a frame after what is read first.
fn below(p: &Page, write: fn(&Page) -> String) -> String {
    if p.below { write(p) } else { String::new() }
}

/// Whether something is so.
type Holds = fn(&Page) -> bool;

/// What is there or not there by the state of the page: the `data-room` or `data-part` of an element, and whether it is hidden.
pub(super) const HIDDEN: [(&str, Holds); 3] = [
    ("[data-part=judge]", |p| !judge::has(p)),
    ("[data-part=past-note]", |p| p.past().is_none()),
    ("[data-room=outcome]", |p| p.past().is_some()),
];

#[cfg(feature = "ssr")]
fn of(name: &str, p: &Page) -> maud::Markup {
    let write = ROOMS.iter().find(|r| r.name == name).map(|r| r.write);
    PreEscaped(write.map(|write| write(p)).unwrap_or_default())
}

/// Its parts without a headline of their own, for the gallery.
#[cfg(feature = "ssr")]
pub(super) fn sample(p: &Page) -> String {
    let of = |name: &str| of(name, p);
    html! {
        div.head {
            div {
                p.as-h1 { (of("headline")) }
                div.facts { span.stage { (of("stage")) } }
            }
            div.controls { (of("controls")) (of("outcome")) }
        }
        (of("evidence"))
        (of("clocks"))
        (timeline::section(of))
        (judge::section(!judge::has(p), of))
        (of("replay"))
        div.columns {
            div.stack {
                (of("stages"))
                div.verify { p.verify-line role="status" { (of("receipts-check")) } }
                (of("receipts-rows"))
            }
            div.stack { (of("envelope")) (of("who-has")) (of("compare")) }
        }
    }
    .into_string()
}

/// What each room has, in the order of [`ROOMS`].
pub(super) fn all(p: &Page) -> Vec<String> {
    ROOMS.iter().map(|room| (room.write)(p)).collect()
}

/// The whole page, with what [`all`] its rooms have, without the receipt beside it.
pub(super) fn page(p: &Page, written: &[String]) -> String {
    let of = |name: &str| {
        let mut rooms = ROOMS.iter().zip(written);
        PreEscaped(rooms.find(|(room, _)| room.name == name).map(|(_, has)| has.clone()).unwrap_or_default())
    };
    let row = &p.live.row;
    let service = words::query("/releases", &[("service", row.service.as_str())]);
    html! {
        div.crumb {
            a href=(service) { (row.service) }
            span { "/" }
            span { (row.environment) }
            span { "/" }
            span { (row.id) }
            span.asof data-room="as-of" { (of("as-of")) }
        }
        div.head {
            div {
                h1 tabindex="-1" data-room="headline" { (of("headline")) }
                div.facts {
                    span.stage data-room="stage" { (of("stage")) }
                    (digest(&row.digest))
                    span { "started by " (row.actor) }
                    span data-room="joules" { (of("joules")) }
                }
            }
            div.controls {
                div.room data-room="controls" { (of("controls")) }
                div.room data-room="outcome" hidden[p.past().is_some()] { (of("outcome")) }
            }
        }
        div.room data-room="since" { (of("since")) }
        @if let Some(why) = &p.left_alone {
            p.note.bad role="alert" { b { "Not carried on: " } (code(why)) ". " a href="/settings" { "Health" } }
        }
        div.room data-room="answer" { (of("answer")) }
        // Nobody sees it where a script runs.
        @if cfg!(feature = "ssr") && row.in_flight() {
            p.unaided.mute { "Without JavaScript this page stands still. " a.door href={ "/releases/" (row.id) } { "Look again" } }
        }
        div.room data-room="evidence" { (of("evidence")) }
        div.room data-room="clocks" { (of("clocks")) }
        (timeline::section(of))
        (judge::section(!judge::has(p), of))
        div.room data-room="replay" { (of("replay")) }
        div.columns {
            div.stack { div.room data-room="stages" { (of("stages")) } }
            div.stack {
                div.room data-room="envelope" { (of("envelope")) }
                div.room data-room="who-has" { (of("who-has")) }
            }
        }
        p.mute data-part="past-note" hidden[p.past().is_none()] { "What follows about the image is as it is now." }
        div.chain-room data-room="chain" { (of("chain")) }
        div.columns {
            div.stack {
                section aria-labelledby="receipts" {
                    div.room data-room="receipts-head" { (of("receipts-head")) }
                    div.verify {
                        p.verify-line role="status" data-room="receipts-check" { (of("receipts-check")) }
                        div.room data-room="receipts-found" { (of("receipts-found")) }
                    }
                    div.room data-room="receipts-rows" { (of("receipts-rows")) }
                }
            }
            div.stack { div.room data-room="compare" { (of("compare")) } }
        }
    }
    .into_string()
}

fn text(said: &str) -> String {
    html! { (said) }.into_string()
}

/// A sentence in which commands stand between backticks.
fn code(said: &str) -> maud::Markup {
    html! {
        @for (i, part) in said.split('`').enumerate() {
            @if i % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// The note has its place beside it: what is read does not move when the stream is lost, or when another release begins.
fn as_of(p: &Page) -> String {
    html! {
        (p.as_of())
        @if let Some(since) = p.lost {
            span.lost { "not live since " (since.clock()) }
        } @else if let Some(newest) = p.newest.as_ref().filter(|_| p.newer && !p.live.row.in_flight()) {
            span.newer { a.door href={ "/releases/" (newest.id) } { (newest.version) } " came after it, " (newest.state) }
        }
    }
    .into_string()
}

/// Written anew as a whole: it is another sentence then.
fn headline(p: &Page) -> String {
    let words::Headline { before, key, after, tone } = p.headline();
    html! { (before) span class={ "key " (tone.class()) } { (key) } (after) }.into_string()
}

/// One that is over may not be the newest any more.
fn since(p: &Page) -> String {
    let row = &p.live.row;
    html! {
        @if let Some(newest) = p.newest.as_ref().filter(|_| !row.in_flight() && !p.newer) {
            p.mute.since { "This is how it ended. The newest release of " (row.service) " is " a.door href={ "/releases/" (newest.id) } { (newest.version) } ", " (newest.state) "." }
        }
    }
    .into_string()
}

fn answer(p: &Page) -> String {
    let a = &p.address;
    let said = words::answer(&p.live, &a.command, &a.accepted, &a.problem);
    html! { @if let Some((tone, said)) = said { p class={ "note " (tone.class()) } role="alert" { (said) } } }
        .into_string()
}

fn joules(p: &Page) -> String {
    let v = p.view();
    let so_far = if v.row.in_flight() { " so far" } else { "" };
    let said = if v.row.joules.n == 0 {
        "energy n/a".to_owned()
    } else {
        format!("{}{so_far}", say::joules_sum(&v.row.joules))
    };
    // The receipt that was measured last: when the release is over, its sum.
    let from = v.receipts.iter().rev().find(|r| r.payload.energy.is_some());
    html! {
        @match from {
            Some(r) => a.door href={ "/receipts/" (r.index) } title=(joules_about(v)) { (said) },
            None => span title=(joules_about(v)) { (said) },
        }
    }
    .into_string()
}

fn joules_about(v: &ReleaseView) -> String {
    let j = &v.row.joules;
    if j.n == 0 {
        return "no receipt of this release carries joules".to_owned();
    }
    format!(
        "between {} and {}, summed over {}",
        say::joules(j.low),
        say::joules(j.high),
        say::plural(j.n, "receipt", "receipts")
    )
}

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use model::Timestamp;

    use super::{super::controls::Reader, super::page::Address, *};

    fn sample() -> Page {
        let view = crate::gallery::sample_view();
        let now = view.row.started.plus_millis(1_000);
        Page::new(view, Vec::new(), Reader::Nobody, Address::default(), now)
    }

    #[test]
    fn each_room_and_each_hidden_part_stands_in_the_page_once() {
        let sample = sample();
        let page = page(&sample, &all(&sample));
        for Room { name, .. } in &ROOMS {
            assert_eq!(page.matches(&format!("data-room=\"{name}\"")).count(), 1, "{name}");
        }
        for (selector, _) in &HIDDEN {
            let (attribute, value) = selector.trim_matches(['[', ']']).split_once('=').unwrap();
            assert_eq!(page.matches(&format!("{attribute}=\"{value}\"")).count(), 1, "{selector}");
        }
    }

    #[test]
    fn what_is_long_comes_a_frame_later_where_the_browser_draws() {
        let mut sample = sample();
        sample.image.section = "<p>its image</p>".to_owned();
        let page = |p: &Page| page(p, &all(p));
        for (written, empty) in [(true, false), (false, true)] {
            sample.below = written;
            for room in ["chain", "receipts-rows"] {
                assert_eq!(page(&sample).contains(&format!("data-room=\"{room}\"></div>")), empty, "{room}");
            }
        }
    }

    #[test]
    fn a_release_whose_service_is_left_alone_says_why() {
        let mut left = sample();
        let page = |p: &Page| page(p, &all(p));
        assert!(!page(&left).contains("Not carried on"));
        left.left_alone = Some("receipt 7 is <damaged>: say `deliveryos log verify`".to_owned());
        let said = "</b>receipt 7 is &lt;damaged&gt;: say <code>deliveryos log verify</code>. <a href=\"/settings\">";
        assert!(page(&left).contains(said), "{}", page(&left));
    }

    #[test]
    fn seconds_that_are_missing_are_seen() {
        let second = |at: i64, boot: &str| {
            let tick = r#"{"seq":1,"boot":"BOOT","at":"1970-01-01T00:00:00.000Z","weight":5,"epoch":1,"stable":{"n":1,"errors":0},"canary":null}"#;
            let mut tick: model::Tick = serde_json::from_str(&tick.replace("BOOT", boot)).unwrap();
            tick.at = Timestamp::from_millis(at * 1_000);
            tick
        };
        let mut page = sample();
        page.take_ticks([second(1, "a"), second(2, "a"), second(5, "b"), second(6, "b")]);
        let from = Timestamp::from_millis(0);
        assert!(!page.has_hole(from), "the data plane began again: nothing was counted");
        assert!(page.has_hole(Timestamp::from_millis(3_000)), "the first seconds are not there");
        page.take_ticks([second(9, "b")]);
        assert!(page.has_hole(from));
        assert!(!page.has_hole(Timestamp::from_millis(9_000)), "what is older is not asked for");
        page.take_ticks([second(8, "b"), second(7, "b")]);
        assert!(!page.has_hole(from));
    }
}
