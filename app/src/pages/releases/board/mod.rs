//! The browser's side of a release's page: what arrives, what is pressed, and what is drawn anew.
//!
//! The page is one value ([`Page`]). Whatever happens changes it and says what it changed; once a frame the rooms that are written from that
//! are written again ([`rooms`]). Listeners stand on the page as a whole, so it does not matter which of its elements come and go.

mod commands;
mod listen;
mod timeline;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use leptos::{html, leptos_dom::helpers::IntervalHandle, prelude::*};
use model::Kind;
use projections::Receipt;
use wasm_bindgen::JsCast;
use web_sys::{Element, Event, HtmlElement, HtmlInputElement};

use self::listen::Listener;
use super::{
    controls::Given,
    drawer,
    judge::{self, Again},
    page::{
        Address, Page,
        changed::{
            ADDRESS, AGAIN, AWAKE, BELOW, CHECK, CLOCK, EVIDENCE_ROWS, GIVEN, IMAGE, REPLAY, ROWS, STREAM, TICKS, VIEW,
            ZOOM,
        },
    },
    rooms,
};
use crate::{
    api::{
        page,
        reads::{self, ImageKnown, get_image, get_release, get_ticks},
    },
    components::{Changes, arrived, check_all, check_pressed, put, use_rest, use_step},
    live::{Arrival, Stream, follow, use_live},
};

/// A whole release passes in so many steps, one every [`STEP`].
const STEPS: i64 = 100;
/// Time between two steps: 12 s for a release.
const STEP: Duration = Duration::from_millis(120);

/// A server that has come back first asks the data plane for the seconds that it missed: they may not be found at the first try, but are
/// after this.
const STORED_AFTER: Duration = Duration::from_secs(6);
/// How often they are asked for.
const STORED_TRIES: u32 = 3;

pub(super) struct Board {
    page: RefCell<Page>,
    root: RefCell<Option<Element>>,
    /// What each room has; `None` when that is not known.
    written: RefCell<Vec<Option<String>>>,
    /// What changed since the last drawing.
    due: Cell<u32>,
    /// It will be drawn with the next frame.
    scheduled: Cell<bool>,
    title: ArcRwSignal<String>,
    places: RwSignal<Vec<u64>>,
    stream: RwSignal<Stream>,
    /// Changes the address at once, or once it has come to rest.
    step: Box<dyn Fn(Changes)>,
    rest: Box<dyn Fn(Changes)>,
    listeners: RefCell<Vec<Listener>>,
    playing: Cell<Option<IntervalHandle>>,
    /// The ticks of a part of the axis are asked for after this.
    asking: Cell<Option<TimeoutHandle>>,
}

impl Board {
    /// Takes the page over once it stands in the document, until it is left. What its rooms have is empty where the server wrote it: then all of
    /// them are written again.
    pub(super) fn begin(
        page: Page,
        written: Vec<String>,
        root: NodeRef<html::Section>,
        title: ArcRwSignal<String>,
        places: RwSignal<Vec<u64>>,
        address: impl Fn() -> Address + 'static,
    ) {
        let live = use_live();
        let (as_of, release) = (page.live.as_of, page.live.row.id.clone());
        let board = Rc::new(Self {
            page: RefCell::new(page),
            root: RefCell::new(None),
            written: RefCell::new(if written.is_empty() {
                vec![None; rooms::ROOMS.len()]
            } else {
                written.into_iter().map(Some).collect()
            }),
            due: Cell::new(0),
            scheduled: Cell::new(false),
            title,
            places,
            stream: live.stream,
            step: Box::new(use_step()),
            rest: Box::new(use_rest()),
            listeners: RefCell::new(Vec::new()),
            playing: Cell::new(None),
            asking: Cell::new(None),
        });
        let arriving = board.clone();
        follow(Some(as_of), Some(release), move |arrival| arriving.clone().arrived(arrival));
        let owned = board.clone();
        Effect::new(move |_| {
            let (now, awake, address) = (live.now.get(), live.awake.get(), address());
            let lost = if let Stream::Stale(since) = live.stream.get() { Some(since) } else { None };
            let Some(root) = root.get() else { return };
            owned.turn(root.into(), now, awake, address, lost);
        });
    }

    /// The clock, the address, and the first time: the document is there.
    fn turn(
        self: &Rc<Self>,
        root: Element,
        now: model::Timestamp,
        awake: bool,
        address: Address,
        lost: Option<model::Timestamp>,
    ) {
        let first = self.root.borrow().is_none();
        if first {
            self.root.replace(Some(root.clone()));
            // Opened before the code was there.
            let open =
                |twin: &str| matches!(root.query_selector(&format!("details[data-twin={twin}][open]")), Ok(Some(_)));
            let mut page = self.page.borrow_mut();
            (page.rows_open, page.evidence_open) = (open("rows"), open("evidence"));
            drop(page);
            self.listeners.replace(listen::all(self, &root));
            timeline::scroll_to_now(&root, &self.page.borrow());
            if let Ok(Some(heading)) = root.query_selector("h1")
                && let Ok(heading) = heading.dyn_into()
            {
                arrived(heading);
            }
        }
        if first && !self.page.borrow().below {
            let board = Rc::downgrade(self);
            // The frame after the one that shows the page.
            request_animation_frame(move || {
                request_animation_frame(move || {
                    if let Some(board) = board.upgrade() {
                        board.change(|page| {
                            page.below = true;
                            BELOW
                        });
                    }
                });
            });
        }
        let unknown = first && self.written.borrow().iter().any(Option::is_none);
        self.change(|page| {
            let mut what = if unknown { u32::MAX & !(ROWS | EVIDENCE_ROWS) } else { 0 };
            for (differs, bit) in [
                (page.clock != now, CLOCK),
                (page.awake != awake, AWAKE),
                (page.address != address, ADDRESS),
                (page.lost != lost, STREAM),
            ] {
                what |= if differs { bit } else { 0 };
            }
            (page.clock, page.awake, page.address, page.lost) = (now, awake, address, lost);
            what
        });
    }

    /// Changes the page; what is given back is drawn with the next frame.
    fn change(self: &Rc<Self>, how: impl FnOnce(&mut Page) -> u32) {
        let what = how(&mut self.page.borrow_mut());
        if what == 0 {
            return;
        }
        if what & (VIEW | REPLAY | STREAM) != 0 {
            let title = self.page.borrow().title();
            if self.title.with_untracked(|t| *t != title) {
                self.title.set(title);
            }
        }
        self.due.set(self.due.get() | what);
        if !self.scheduled.replace(true) {
            let board = self.clone();
            request_animation_frame(move || board.draw());
        }
    }

    fn draw(&self) {
        self.scheduled.set(false);
        let mut page = self.page.borrow_mut();
        // Until the whole page is taken over the framework may still be walking through it.
        if !page.awake {
            return;
        }
        let mut due = self.due.replace(0);
        due = page.derive(due);
        if due & (VIEW | TICKS | CLOCK | ZOOM | REPLAY) != 0 {
            due |= if page.rows_open { ROWS } else { 0 } | if page.evidence_open { EVIDENCE_ROWS } else { 0 };
        }
        let Some(root) = self.root.borrow().clone() else { return };
        let _ = root.class_list().toggle_with_force("past", page.past().is_some());
        for (selector, hidden) in rooms::HIDDEN {
            if let Ok(Some(element)) = root.query_selector(selector) {
                let _ = element.toggle_attribute_with_force("hidden", hidden(&page));
            }
        }
        let asking = root.query_selector("details.ask[open]").ok().flatten();
        page.asking = asking.and_then(|details| details.get_attribute("data-key"));
        let focus = || document().active_element();
        // What cannot be pressed any more loses the focus with the next frame.
        let within =
            |focus: Option<Element>| focus.is_some_and(|on| on.matches(".head :not(:disabled)").unwrap_or(false));
        let in_head = within(focus());
        let mut written = self.written.borrow_mut();
        for (room, before) in rooms::ROOMS.iter().zip(written.iter_mut()).filter(|(room, _)| room.when & due != 0) {
            let now = (room.write)(&page);
            if before.as_ref() == Some(&now) {
                continue;
            }
            if let Ok(Some(element)) = root.query_selector(&format!("[data-room={}]", room.name)) {
                if room.whole { element.set_inner_html(&now) } else { put(&element, &now) }
            }
            *before = Some(now);
        }
        // A button that went with what it was for leaves the focus to the sentence that says what is now.
        if in_head
            && !within(focus())
            && let Ok(Some(heading)) = root.query_selector("h1")
            && let Ok(heading) = heading.dyn_into::<HtmlElement>()
        {
            let _ = heading.focus();
        }
        // What somebody moved has a value of its own.
        if due & REPLAY != 0
            && let Some(slider) = slider(&root)
        {
            slider.set_value(&slider.get_attribute("value").unwrap_or_default());
        }
    }

    /// Something came over the stream.
    fn arrived(self: Rc<Self>, arrival: Arrival) {
        match arrival {
            Arrival::Receipt(receipt) => self.take(&receipt),
            Arrival::Tick(of, tick) => self.change(|page| {
                if of != page.live.row.id {
                    return 0;
                }
                page.take_ticks([*tick]);
                TICKS
            }),
            Arrival::Back => self.fill_gap(),
        }
    }

    fn take(self: &Rc<Self>, receipt: &Receipt) {
        self.change(|page| {
            page.take(receipt);
            // Another command came after it: what came of this one is past.
            let answered = match &page.given {
                Given::Answered(Ok(done)) => done.receipt,
                _ => return VIEW,
            };
            if matches!(receipt.payload.kind, Kind::CommandAccepted) && receipt.index > answered {
                page.given = Given::Nothing;
                return VIEW | GIVEN;
            }
            VIEW
        });
        let receipts: Vec<u64> = self.page.borrow().live.receipts.iter().map(|r| r.index).collect();
        if self.places.try_with_untracked(|p| *p != receipts) == Some(true) {
            self.places.set(receipts);
        }
        if self.page.borrow().is_about_image(receipt) {
            self.ask_image();
        }
    }

    /// Asks the server what it knows of the image by now. Without an answer what was known stays.
    fn ask_image(self: &Rc<Self>) {
        let (board, release) = (self.clone(), self.release());
        leptos::task::spawn_local(async move {
            if let Ok(fresh) = get_image(release).await.and_then(|text| page::read::<ImageKnown>(&text)) {
                board.change(|page| {
                    page.image = fresh;
                    IMAGE
                });
            }
        });
    }

    fn release(&self) -> String {
        self.page.borrow().live.row.id.to_string()
    }

    /// After a gap in the stream: the ticks since the last one. One that was over before the gap has no more.
    fn fill_gap(self: &Rc<Self>) {
        let (release, from, until) = {
            let page = self.page.borrow();
            if !page.live.row.in_flight() {
                return;
            }
            let from = page.ticks.last().map_or(page.live.row.started, |t| t.at);
            // The two clocks may differ by some seconds.
            (page.live.row.id.clone(), from, page.clock.plus_millis(60_000))
        };
        self.ask_ticks(release, from, until, STORED_TRIES);
    }

    fn ask_ticks(
        self: &Rc<Self>,
        release: model::ReleaseId,
        from: model::Timestamp,
        until: model::Timestamp,
        tries: u32,
    ) {
        let board = self.clone();
        leptos::task::spawn_local(async move {
            if let Ok(missed) = get_ticks(release.clone(), from, until).await {
                board.change(|page| {
                    page.take_ticks(missed);
                    TICKS
                });
            }
            let board = Rc::downgrade(&board);
            let again = move || {
                if let Some(board) = board.upgrade().filter(|b| tries > 1 && b.page.borrow().has_hole(from)) {
                    board.ask_ticks(release, from, until, tries - 1);
                }
            };
            set_timeout(again, STORED_AFTER);
        });
    }

    /// After a command while the stream is down: asks once a second what came of it, until the stream is there again or the release is over.
    fn catch_up(self: Rc<Self>, tries: u32) {
        /// Two minutes: an abort is over well before, and the page can be loaded again.
        const TRIES: u32 = 120;
        const EVERY: Duration = Duration::from_secs(1);
        leptos::task::spawn_local(async move {
            let fresh = get_release(self.release()).await;
            if let Ok(fresh) = fresh.and_then(|text| page::read::<reads::ReleasePage>(&text)) {
                // Its ticks may be thinned, whose last one ends now: taken again and again they would count the same requests.
                self.fill_gap();
                for receipt in &fresh.receipts {
                    self.take(receipt);
                }
            }
            let over = !self.page.borrow().live.row.in_flight();
            let back = self.stream.try_get_untracked().is_none_or(|s| matches!(s, Stream::Live | Stream::Off));
            if !over && !back && tries < TRIES {
                set_timeout(move || self.catch_up(tries + 1), EVERY);
            }
        });
    }

    /// A press anywhere on the page.
    fn clicked(self: &Rc<Self>, e: &Event) {
        let Some(pressed) = target(e) else { return };
        let on = |selector: &str| pressed.closest(selector).ok().flatten();
        if commands::clicked(&pressed) {
            return;
        }
        if let Some(button) = on("[data-zoom]") {
            let factor = match button.get_attribute("data-zoom").as_deref() {
                Some("wider") => 2.0,
                Some("closer") => 0.5,
                _ => f64::INFINITY,
            };
            let part = self.page.borrow().resized(factor);
            self.show(part);
        } else if check_pressed(e) {
            self.check();
        } else if on("[data-again]").is_some() {
            self.compute_again();
        } else if on(".replay .to-end").is_some() {
            self.play(false);
            self.look_back(None);
        } else if let Some(receipt) = e.dyn_ref().and_then(drawer::pressed) {
            e.prevent_default();
            self.open_receipt(receipt);
        } else if let Some(receipt) =
            on("table.receipts tr").filter(|_| on("a, button").is_none()).and_then(|r| row(&r))
        {
            self.open_receipt(receipt);
        }
    }

    fn open_receipt(&self, index: u64) {
        (self.step)(vec![("receipt", Some(index.to_string()))]);
    }

    fn submitted(self: &Rc<Self>, e: &Event) {
        let Some(form) = target(e) else { return };
        if form.class_list().contains("replay") {
            e.prevent_default();
            let playing = !self.page.borrow().playing;
            if playing && self.page.borrow().past().is_none() {
                self.look_back(Some(0));
            }
            self.play(playing);
        } else {
            commands::submitted(self, e, &form);
        }
    }

    /// The slider of what is looked back at is moved.
    fn slid(self: &Rc<Self>, e: &Event) {
        let Some(slider) = target(e).and_then(|on| on.dyn_into::<HtmlInputElement>().ok()) else { return };
        if slider.name() == "at" {
            self.play(false);
            self.look_back(slider.value().parse::<i64>().ok().and_then(|s| s.checked_mul(1000)));
        }
    }

    fn look_back(self: &Rc<Self>, at: Option<i64>) {
        let at = at.filter(|ms| *ms < self.page.borrow().length());
        self.change(|page| {
            page.look_back(at);
            VIEW | REPLAY
        });
        (self.rest)(vec![("at", at.map(|ms| (ms / 1000).to_string()))]);
    }

    /// Moves the moment on, step by step, or holds it.
    fn play(self: &Rc<Self>, playing: bool) {
        if let Some(before) = self.playing.take() {
            before.clear();
        }
        self.change(|page| {
            page.playing = playing;
            REPLAY
        });
        if playing {
            let board = Rc::downgrade(self);
            let next = move || {
                let Some(board) = board.upgrade() else { return };
                let (at, over) = (board.page.borrow().past(), board.page.borrow().length());
                let next = at.map(|at| at + (over / STEPS).max(1));
                board.look_back(next);
                if next.is_none_or(|next| next >= over) {
                    board.play(false);
                }
            };
            self.playing.set(set_interval_with_handle(next, STEP).ok());
        }
    }

    /// Rows are written while they are open.
    fn opened(self: &Rc<Self>, e: &Event) {
        let Some(twin) = target(e) else { return };
        let open = twin.has_attribute("open");
        match twin.get_attribute("data-twin").as_deref() {
            Some("rows") => self.change(|page| {
                page.rows_open = open;
                if open { ROWS } else { 0 }
            }),
            Some("evidence") => self.change(|page| {
                page.evidence_open = open;
                if open { EVIDENCE_ROWS } else { 0 }
            }),
            // A dialog that was kept for who was in it goes once they leave it; the browser closes one when another is opened.
            _ => {
                commands::say_open(&twin, open);
                self.change(|_| GIVEN);
            }
        }
    }

    /// Checks the receipts that are not checked yet.
    fn check(self: &Rc<Self>) {
        let board = self.clone();
        let told = move |now| {
            board.change(|page| {
                page.check = now;
                CHECK
            });
        };
        let (receipts, before) = (self.page.borrow().view().receipts.clone(), self.page.borrow().check.clone());
        check_all(receipts, &before, told);
    }

    /// Recomputes the last verdict, unless that is under way.
    fn compute_again(self: &Rc<Self>) {
        let facts = judge::verdict(&self.page.borrow());
        let Some(facts) = facts.filter(|_| self.page.borrow().again != Again::Fetching) else { return };
        let put = |board: &Rc<Self>, now| {
            board.change(|page| {
                page.again = now;
                AGAIN
            });
        };
        let (index, facts) = facts;
        put(self, Again::Fetching);
        let board = self.clone();
        leptos::task::spawn_local(async move {
            let found = match crate::parts::recompute(facts).await.ok() {
                Some(work) => work.await,
                None => Err("the code that recomputes it did not come".to_owned()),
            };
            put(&board, Again::Done(index, found));
        });
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if let Some(playing) = self.playing.take() {
            playing.clear();
        }
        if let Some(asking) = self.asking.take() {
            asking.clear();
        }
    }
}

/// The receipt of a row that was pressed; none when somebody selects what is in it.
fn row(row: &Element) -> Option<u64> {
    let selected =
        window().get("getSelection").and_then(|f| f.unchecked_into::<js_sys::Function>().call0(&window()).ok());
    let selects = selected.is_some_and(|s| js_sys::Object::from(s).to_string().length() > 0);
    if selects { None } else { row.get_attribute("data-key")?.parse().ok() }
}

fn slider(root: &Element) -> Option<HtmlInputElement> {
    root.query_selector(".replay [name=at]").ok().flatten()?.dyn_into().ok()
}

fn target(e: &Event) -> Option<Element> {
    e.target()?.dyn_into().ok()
}
