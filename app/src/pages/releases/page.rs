//! What a release's page is made of, and what follows from it. Plain values: no document, no clock of its own.

use model::{
    Kind, Tick, Timestamp,
    event::{CanaryCompleted, CanaryPaused, CanaryStarted, CanaryStepped},
};
use projections::{Receipt, ReleaseView, say};

use super::{
    controls::{Given, Reader},
    judge::Again,
};
use crate::{
    api::reads::{self, ImageKnown, MAX_POINTS, Newest, Previous},
    timeline::{self, Axis, Limits, Point, Reading, Zoom},
    verifier::Progress,
    words,
};

/// What changed, as bits: a room is written again when one of its bits is among them.
pub(super) mod changed {
    /// The release as it is shown: a receipt came, or another moment is looked back at.
    pub(in super::super) const VIEW: u32 = 1;
    /// Seconds were counted.
    pub(in super::super) const TICKS: u32 = 1 << 1;
    /// A second passed.
    pub(in super::super) const CLOCK: u32 = 1 << 2;
    /// Where the cursor is.
    pub(in super::super) const CURSOR: u32 = 1 << 3;
    /// What is being dragged.
    pub(in super::super) const BRUSH: u32 = 1 << 4;
    /// The part of the axis that is shown.
    pub(in super::super) const ZOOM: u32 = 1 << 5;
    /// What came of a command.
    pub(in super::super) const GIVEN: u32 = 1 << 6;
    /// The browser's code is in charge.
    pub(in super::super) const AWAKE: u32 = 1 << 7;
    /// The page's address.
    pub(in super::super) const ADDRESS: u32 = 1 << 8;
    /// What is known of the image.
    pub(in super::super) const IMAGE: u32 = 1 << 9;
    /// How far checking the receipts is.
    pub(in super::super) const CHECK: u32 = 1 << 10;
    /// Recomputing the last verdict.
    pub(in super::super) const AGAIN: u32 = 1 << 11;
    /// Looking back: whether, where, and whether it plays.
    pub(in super::super) const REPLAY: u32 = 1 << 12;
    /// The rows of the timeline are to be written.
    pub(in super::super) const ROWS: u32 = 1 << 13;
    /// The rows of the evidence are to be written.
    pub(in super::super) const EVIDENCE_ROWS: u32 = 1 << 14;
    /// The ends of the axis moved.
    pub(in super::super) const PLACED: u32 = 1 << 15;
    /// The stream was lost, or is there again.
    pub(in super::super) const STREAM: u32 = 1 << 16;
    /// What lies below the first screen is to be written.
    pub(in super::super) const BELOW: u32 = 1 << 17;
}

/// Where the cursor is: a moment, and the receipt that it was brought to, if it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) at: Timestamp,
    pub(super) receipt: Option<u64>,
    /// Stays when the pointer leaves.
    pub(super) kept: bool,
}

/// Where the release stands that came after this one, while it is stopped.
const ABORTING: &str = "aborting";

/// What the page's address says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) path: String,
    pub(super) search: String,
    /// The answer to a plain form: the command, its receipt, why not.
    pub(super) command: String,
    pub(super) accepted: String,
    pub(super) problem: String,
    /// Which sort of receipts.
    pub(super) show: String,
}

/// The page.
pub(super) struct Page {
    /// The release as it is now.
    pub(super) live: ReleaseView,
    /// It was aborted, or rolled back, before the page was opened.
    pub(super) stopped_before: bool,
    /// A moment that is looked back at, ms since the start, and the release as it was then.
    past: Option<(i64, ReleaseView)>,
    pub(super) ticks: Vec<Tick>,
    /// The ticks of a part of the axis, when those of the page are thinned.
    pub(super) fine: Option<(Zoom, Vec<Tick>)>,
    /// The release of this service before it.
    pub(super) previous: Option<Previous>,
    /// The newest release of this service, when it is another one.
    pub(super) newest: Option<Newest>,
    /// It began while the page is open.
    pub(super) newer: bool,
    /// What is known of its image.
    pub(super) image: ImageKnown,
    /// Why the controller does not carry it on, if it does not.
    pub(super) left_alone: Option<String>,
    pub(super) address: Address,
    pub(super) reader: Reader,
    pub(super) given: Given,
    pub(super) check: Progress,
    pub(super) again: Again,
    pub(super) zoom: Option<Zoom>,
    pub(super) cursor: Option<Cursor>,
    /// From where to where somebody drags, as shares of the width.
    pub(super) brush: Option<(f64, f64)>,
    /// The command whose dialog is open.
    pub(super) asking: Option<String>,
    /// It plays what is looked back at.
    pub(super) playing: bool,
    /// Whether the rows of the timeline, and of the evidence, are open.
    pub(super) rows_open: bool,
    pub(super) evidence_open: bool,
    /// Whether what lies below the first screen is written: not yet in the first frame of a page that is drawn in the browser.
    pub(super) below: bool,
    /// True once the browser's code is in charge.
    pub(super) awake: bool,
    /// Now.
    pub(super) clock: Timestamp,
    /// When something last arrived, while the stream is lost.
    pub(super) lost: Option<Timestamp>,
    axis: Axis,
    points: Vec<Point>,
    reading: Reading,
}

impl Page {
    /// The page of this release, as it is now.
    pub(super) fn new(live: ReleaseView, ticks: Vec<Tick>, reader: Reader, address: Address, clock: Timestamp) -> Self {
        let axis = Axis::of(&live, clock);
        let mut page = Self {
            stopped_before: live.aborted().is_some(),
            past: None,
            ticks,
            fine: None,
            previous: None,
            newest: None,
            newer: false,
            image: ImageKnown::default(),
            left_alone: None,
            address,
            reader,
            given: Given::Nothing,
            check: Progress::Idle,
            again: Again::default(),
            zoom: None,
            cursor: None,
            brush: None,
            asking: None,
            playing: false,
            rows_open: false,
            evidence_open: false,
            below: true,
            awake: false,
            clock,
            lost: None,
            axis,
            points: Vec::new(),
            reading: timeline::reading(&live, &[], axis, axis.until, None),
            live,
        };
        page.derive(u32::MAX);
        page
    }

    /// The page as the server answered; `None` when the receipts are not those of a rollout.
    pub(super) fn loaded(
        loaded: reads::ReleasePage,
        reader: Reader,
        address: Address,
        clock: Timestamp,
    ) -> Option<Self> {
        // On the server they were folded when they were read.
        #[cfg(feature = "ssr")]
        let folded = crate::api::page::kept::<ReleaseView>();
        #[cfg(not(feature = "ssr"))]
        let folded = None;
        let mut live = match folded {
            Some(folded) => ReleaseView { receipts: loaded.receipts, ..folded },
            None => ReleaseView::of(loaded.receipts)?,
        };
        live.as_of = loaded.as_of.max(live.as_of);
        let (previous, newest, image, left_alone) = (loaded.previous, loaded.newest, loaded.image, loaded.left_alone);
        Some(Self { previous, newest, image, left_alone, ..Self::new(live, loaded.ticks, reader, address, clock) })
    }

    /// Begins where the address says: a part of the axis, a moment that is looked back at.
    pub(super) fn begin_at(&mut self, from: &str, to: &str, at: &str) {
        self.zoom = Zoom::read(from, to, self.whole());
        let asked = at.parse::<i64>().ok().and_then(|s| s.checked_mul(1000));
        self.look_back(asked.filter(|ms| (0..self.length()).contains(ms)));
        if self.zoom.is_some() || self.past.is_some() {
            self.derive(u32::MAX);
        }
    }

    /// The release as it is shown.
    pub(super) fn view(&self) -> &ReleaseView {
        self.past.as_ref().map_or(&self.live, |(_, then)| then)
    }

    /// The moment that is shown: now, or one that is looked back at.
    pub(super) fn now(&self) -> Timestamp {
        self.past.as_ref().map_or(self.clock, |(ms, _)| self.live.row.started.plus_millis(*ms))
    }

    /// What is looked back at, ms since the start.
    pub(super) fn past(&self) -> Option<i64> {
        self.past.as_ref().map(|(ms, _)| *ms)
    }

    /// How long the release took, ms; 0 while it is under way.
    pub(super) fn length(&self) -> i64 {
        self.live.row.ended.map_or(0, |end| end.since(self.live.row.started).max(0))
    }

    /// Looks back at a moment, or shows the present again.
    pub(super) fn look_back(&mut self, at: Option<i64>) {
        self.past = at.map(|ms| (ms, self.live.rewound(self.live.row.started.plus_millis(ms))));
    }

    /// The whole axis.
    pub(super) fn whole(&self) -> Axis {
        let until = if self.live.row.in_flight() { self.clock } else { self.live.row.ended.unwrap_or_default() };
        Axis::of(&self.live, until)
    }

    /// The shown part of the axis.
    pub(super) fn axis(&self) -> Axis {
        self.axis
    }

    /// What is drawn.
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// What the lanes say where the cursor was when this was last drawn.
    pub(super) fn reading(&self) -> &Reading {
        &self.reading
    }

    /// What the lanes say where the cursor is.
    pub(super) fn read(&self) -> Reading {
        let (at, receipt) = self.cursor.map_or((self.axis.until, None), |c| (c.at, c.receipt));
        timeline::reading(self.view(), &self.points, self.axis, at, receipt)
    }

    /// Works out what follows from a change; gives the change with what it brings about.
    pub(super) fn derive(&mut self, change: u32) -> u32 {
        use changed::{CLOCK, CURSOR, PLACED, REPLAY, TICKS, VIEW, ZOOM};
        let mut change = change;
        if change & (VIEW | TICKS | CLOCK | ZOOM | REPLAY) != 0 {
            let whole = self.whole();
            let axis = Axis { until: self.now().min(whole.until), ..whole }.zoomed(self.zoom);
            let placed = |a: Axis| (a.origin, a.start, a.span);
            if placed(axis) != placed(self.axis) {
                change |= PLACED;
            }
            self.axis = axis;
            let ticks = match &self.fine {
                Some((part, ticks)) if Some(*part) == self.zoom => ticks,
                _ => &self.ticks,
            };
            let until = ticks.partition_point(|t| t.at <= axis.until.plus_millis(1_000));
            let seen = ticks.get(..until).unwrap_or_default();
            self.points = timeline::points(seen, Limits::of(self.view()).p99_increase, axis.grain());
            change |= CURSOR;
        }
        if change & CURSOR != 0 {
            self.reading = self.read();
        }
        change
    }

    /// Takes a receipt.
    pub(super) fn take(&mut self, receipt: &Receipt) {
        self.live.fold(receipt);
        self.overtake(receipt);
    }

    /// A receipt of a release of the same service that came after this one.
    fn overtake(&mut self, receipt: &Receipt) {
        let p = &receipt.payload;
        let Some(id) = p.release.as_ref().filter(|id| **id != self.live.row.id) else { return };
        if p.kind == Kind::CanaryStarted {
            let begun = p.facts::<CanaryStarted>().ok().filter(|f| f.service == self.live.row.service);
            if let Some(f) = begun {
                let (id, version) = (id.to_string(), f.version.to_string());
                // What was told when the page was loaded is told anew in its place.
                self.newer |= self.newest.is_none();
                self.newest = Some(Newest { id, version, state: "starting".to_owned() });
            }
        }
        let Some(newest) = self.newest.as_mut().filter(|newest| newest.id == id.as_str()) else { return };
        let now = match p.kind {
            // That of an abort is one more step, to 0 %.
            Kind::CanaryStepped if newest.state == ABORTING => None,
            Kind::CanaryStepped => p.facts::<CanaryStepped>().ok().map(|f| f.weight.to_string()),
            Kind::CanaryPaused => {
                let held = p.facts::<CanaryPaused>().ok().filter(|f| f.until.is_none());
                held.map(|f| format!("held at {}", f.weight))
            }
            Kind::CanaryResumed => Some(newest.state.strip_prefix("held at ").unwrap_or("going on").to_owned()),
            Kind::CanaryAborted => Some(ABORTING.to_owned()),
            Kind::CanaryCompleted => p.facts::<CanaryCompleted>().ok().map(|f| f.outcome.as_str().to_owned()),
            _ => None,
        };
        if let Some(state) = now {
            newest.state = state;
        }
    }

    /// The ticks until the moment that is shown.
    pub(super) fn seen(&self) -> &[Tick] {
        let until = self.until().plus_millis(1_000);
        self.ticks.get(..self.ticks.partition_point(|t| t.at <= until)).unwrap_or_default()
    }

    /// The moment that is shown, or the end.
    pub(super) fn until(&self) -> Timestamp {
        let row = &self.view().row;
        if row.in_flight() { self.now() } else { row.ended.unwrap_or_default() }
    }

    /// Requests that the canary has served: what receipts say, and what was counted since.
    pub(super) fn served(&self) -> u64 {
        let counted = self.ticks.iter().filter_map(|t| t.canary.as_ref()).map(|c| c.n).sum();
        if self.live.row.in_flight() { self.live.row.exposed.max(counted) } else { self.live.row.exposed }
    }

    /// The same for the moment that is shown.
    pub(super) fn counted(&self) -> u64 {
        if self.past.is_some() { self.view().row.exposed } else { self.served() }
    }

    /// Adds ticks in order, each once, and thins them when there are too many to be seen.
    pub(super) fn take_ticks(&mut self, new: impl IntoIterator<Item = Tick>) {
        let all = &mut self.ticks;
        for tick in new {
            match all.last() {
                Some(last) if tick.at <= last.at => {
                    if let Err(place) = all.binary_search_by_key(&tick.at, |t| t.at) {
                        all.insert(place, tick);
                    }
                }
                _ => all.push(tick),
            }
        }
        let most = MAX_POINTS as usize * 2;
        if all.len() > most {
            *all = projections::thin(std::mem::take(all), MAX_POINTS as usize);
        }
    }

    /// Whether seconds are missing from this moment on: before the first tick, or between two of one boot.
    pub(super) fn has_hole(&self, from: Timestamp) -> bool {
        /// A second and what a busy machine may add to it.
        const APART_MS: i64 = 1_900;
        let first = self.ticks.partition_point(|t| t.at < from);
        let apart = |pair: &[Tick]| matches!(pair, [a, b] if a.boot == b.boot && b.at.since(a.at) > APART_MS);
        let since = self.ticks.get(first..).unwrap_or_default();
        since.first().is_some_and(|t| t.at.since(from) > APART_MS) || since.windows(2).any(apart)
    }

    /// The part that is `factor` times as long as the one shown, around the cursor or the middle.
    pub(super) fn resized(&self, factor: f64) -> Option<Zoom> {
        let (axis, whole) = (self.axis, self.whole());
        let middle = axis.start.plus_millis(axis.span / 2);
        // A part that ends at now is looked at around now.
        let at = self.cursor.map_or(if axis.shows(axis.until) { axis.until } else { middle }, |c| c.at);
        if factor.is_finite() { Zoom::around(self.zoom, axis.since(at), factor, whole) } else { None }
    }

    /// The part whose ticks are worth asking for: the page's own are thinned, and it does not grow any more.
    pub(super) fn finer(&self) -> Option<Zoom> {
        let part = self.zoom?;
        let whole = self.whole();
        let until = whole.since(whole.until);
        // With a tick a second nothing is thinned below this; what still grows is drawn from what arrives.
        (until > i64::from(MAX_POINTS) * 1000 && part.to < until).then_some(part)
    }

    /// The receipt before or after the one that the cursor is at, with its time.
    pub(super) fn neighbour(&self, on: Option<u64>, step: isize) -> Option<(Timestamp, Option<u64>)> {
        let receipts = &self.view().receipts;
        let at = receipts.iter().position(|r| Some(r.index) == on)?;
        // From now, or from between two receipts, the first step back is to the one that is named there.
        let exact = self.cursor.is_some_and(|c| c.receipt.is_some());
        let to = if exact || step > 0 { at.checked_add_signed(step)? } else { at };
        receipts.get(to).map(|r| (r.payload.time, Some(r.index)))
    }

    /// Whether a receipt tells of the image beside its rollout.
    pub(super) fn is_about_image(&self, receipt: &Receipt) -> bool {
        let (p, row) = (&receipt.payload, &self.live.row);
        let subject = p.facts.get("subject").and_then(|s| s.as_str());
        let ours = p.release.as_ref() == Some(&row.id) || subject == Some(&row.digest.to_string());
        let kind = p.kind.as_str();
        ours && ["build", "attestation", "gates", "promotion", "admission"].iter().any(|word| kind.contains(word))
    }

    /// The title of the window.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.view().row.service, self.headline().plain())
    }

    /// What is to be said first: while nothing arrives, what was so last.
    pub(super) fn headline(&self) -> words::Headline {
        match self.lost_under_way() {
            Some(since) => words::headline_of_then(self.view(), since),
            None => words::headline(self.view()),
        }
    }

    /// Since when nothing arrives of a release that is under way.
    fn lost_under_way(&self) -> Option<Timestamp> {
        self.lost.filter(|_| self.past.is_none() && self.live.row.in_flight())
    }

    /// `as of receipt 18,204`, or the moment that is looked back at.
    pub(super) fn as_of(&self) -> String {
        let count = say::count(self.view().as_of);
        match self.past {
            Some(_) => format!("as it was at {}, receipt {count}", self.now().clock()),
            None => format!("as of receipt {count}"),
        }
    }

    /// Where it is among its stages, and what comes next: not while nothing arrives, for then that is not known.
    pub(super) fn stage(&self) -> String {
        words::stage(self.view(), if self.lost_under_way().is_some() { None } else { Some(self.now()) })
    }
}
