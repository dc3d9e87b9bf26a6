//! The axis of time that all lanes share, and the part of it that is shown.

use model::{Timestamp, Weight};
use projections::ReleaseView;

use super::{LEFT, RIGHT, WIDTH};

/// The axis of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// The release's start: the numbers below the axis count from here.
    pub origin: Timestamp,
    /// Left end.
    pub start: Timestamp,
    /// Length, ms; above 0.
    pub span: i64,
    /// Up to where there is something to show: now, or the end.
    pub until: Timestamp,
}

/// The part of the axis that is shown, in milliseconds since the release's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zoom {
    /// Left end.
    pub from: i64,
    /// Right end, above `from`.
    pub to: i64,
}

impl Zoom {
    /// The least that is shown, ms: below this a tick is as wide as a lane is high.
    pub const LEAST: i64 = 5_000;

    /// From the two numbers in a page's address, seconds; `None` when they are no part of this axis.
    pub fn read(from: &str, to: &str, whole: Axis) -> Option<Self> {
        // In whole numbers: reading floating point takes ten kilobytes of the browser's code. What is beyond any release is beyond this one.
        let ms = |text: &str| {
            let (seconds, rest) = text.split_once('.').unwrap_or((text, ""));
            let thousandths = format!("{rest:0<3.3}").parse::<u16>().ok()?;
            let ms = seconds.parse::<i64>().ok()?.saturating_mul(1000);
            Some(if text.starts_with('-') {
                ms.saturating_sub(thousandths.into())
            } else {
                ms.saturating_add(thousandths.into())
            })
        };
        let zoom = Self { from: ms(from)?, to: ms(to)? };
        if zoom.from >= zoom.to { None } else { zoom.within(whole) }
    }

    /// The two numbers for the page's address: seconds, to the millisecond.
    pub fn write(self) -> (String, String) {
        let seconds = |ms: i64| (ms as f64 / 1000.0).to_string();
        (seconds(self.from), seconds(self.to))
    }

    /// This part cut to the axis and not shorter than [`Self::LEAST`]; `None` when that is all of it.
    pub fn within(self, whole: Axis) -> Option<Self> {
        let length = (self.to.saturating_sub(self.from)).clamp(Self::LEAST, i64::MAX / 4);
        if length >= whole.span {
            return None;
        }
        let from = self.from.clamp(0, whole.span - length);
        Some(Self { from, to: from + length })
    }

    /// The part that is `factor` times as long around `at`, which keeps its place on the screen.
    pub fn around(now: Option<Self>, at: i64, factor: f64, whole: Axis) -> Option<Self> {
        let shown = now.unwrap_or(Self { from: 0, to: whole.span });
        let length = shown.to - shown.from;
        let longer = ((length as f64 * factor) as i64).max(Self::LEAST);
        let share = (at - shown.from).clamp(0, length) as f64 / length.max(1) as f64;
        let from = at.clamp(shown.from, shown.to) - (longer as f64 * share) as i64;
        Self { from, to: from + longer }.within(whole)
    }

    /// The part that lies `by` milliseconds further.
    pub fn moved(self, by: i64, whole: Axis) -> Option<Self> {
        Self { from: self.from.saturating_add(by), to: self.to.saturating_add(by) }.within(whole)
    }
}

/// Where a release is in its timetable: how many of the planned weights it has reached, and how much later than planned the others come, ms;
/// below 0 when somebody promoted it earlier.
pub(super) fn lateness(view: &ReleaseView, elapsed: i64) -> (usize, i64) {
    let (mut reached, mut late) = (0, 0);
    for (at, weight) in &view.weights {
        let at = at.since(view.row.started);
        let mut left = view.planned.iter().enumerate().skip(reached);
        match left.find(|(_, planned)| planned.weight == *weight) {
            Some((i, planned)) => (reached, late) = (i + 1, at.saturating_sub(planned.at_ms)),
            // Tried again, it begins its timetable again.
            None if *weight == Weight::ZERO => (reached, late) = (0, at),
            None => {}
        }
    }
    // What is due by now and has not come is late by as much already.
    let due = view.planned.get(reached).map(|next| elapsed.saturating_sub(next.at_ms));
    (reached, due.map_or(late, |due| late.max(due)))
}

impl Axis {
    /// From the start to the planned end, as late as that is by now, to now, or to the real end. It has room for what always takes a little
    /// longer and beyond that grows in few steps, so that the drawing does not shift each second.
    pub fn of(view: &ReleaseView, now: Timestamp) -> Self {
        /// The shortest axis, ms.
        const SHORTEST: i64 = 10_000;
        let start = view.row.started;
        let until = view.row.ended.unwrap_or(now).max(start);
        let elapsed = until.since(start);
        let planned = view.planned_ms.unwrap_or(0).max(view.planned.last().map_or(0, |p| p.at_ms));
        let mut span = match view.row.ended {
            Some(_) => elapsed + elapsed / 50,
            None => planned.saturating_add(planned / 25).max(SHORTEST),
        };
        let (_, late) = lateness(view, elapsed);
        while view.row.ended.is_none() && span < planned.saturating_add(late).max(elapsed) {
            span = span.saturating_add(span / 4);
        }
        Self { origin: start, start, span: span.max(SHORTEST), until }
    }

    /// The shown part of it.
    pub fn zoomed(self, zoom: Option<Zoom>) -> Self {
        match zoom {
            Some(z) => Self { start: self.origin.plus_millis(z.from), span: (z.to - z.from).max(1), ..self },
            None => self,
        }
    }

    /// Samples within so many milliseconds make one point: finer is noise at this scale.
    pub fn grain(&self) -> i64 {
        const POINTS: i64 = 200;
        const STEPS: [i64; 10] = [1, 2, 3, 5, 10, 15, 30, 60, 300, 900];
        let least = self.span / POINTS;
        STEPS.into_iter().map(|s| s * 1000).find(|s| *s >= least).unwrap_or(least)
    }

    /// Milliseconds from the left end.
    pub(super) fn ms(&self, at: Timestamp) -> i64 {
        at.since(self.start)
    }

    /// Milliseconds since the release's start.
    pub fn since(&self, at: Timestamp) -> i64 {
        at.since(self.origin)
    }

    /// True when this time is on the drawing.
    pub fn shows(&self, at: Timestamp) -> bool {
        (0..=self.span).contains(&self.ms(at))
    }

    /// Place of a time on the drawing, in its units.
    pub fn x(&self, at: Timestamp) -> f64 {
        let share = self.ms(at) as f64 / self.span as f64;
        f64::from(LEFT) + share.clamp(0.0, 1.0) * f64::from(RIGHT - LEFT)
    }

    /// The time at this share of the drawing's width, within the axis.
    pub fn time_at(&self, share_of_width: f64) -> Timestamp {
        let x = share_of_width * f64::from(WIDTH);
        let share = ((x - f64::from(LEFT)) / f64::from(RIGHT - LEFT)).clamp(0.0, 1.0);
        self.start.plus_millis((share * self.span as f64) as i64)
    }

    /// Where now (or the end) stands, as a share of the drawing's width.
    pub fn share_of_width(&self) -> f64 {
        self.x(self.until) / f64::from(WIDTH)
    }

    /// Times that carry a number, since the release's start: at most a dozen, round ones.
    pub(super) fn ticks(&self) -> Vec<i64> {
        const STEPS: [i64; 16] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600];
        let step = STEPS.into_iter().map(|s| s * 1000).find(|s| self.span / s <= 12).unwrap_or(self.span / 6).max(1);
        let first = self.since(self.start).max(0);
        let (from, to) = ((first + step - 1) / step, (first + self.span) / step);
        (from..=to).map(|i| i * step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(span: i64) -> Axis {
        let zero = Timestamp::from_millis(0);
        Axis { origin: zero, start: zero, span, until: zero }
    }

    #[test]
    fn ticks_of_the_axis_are_round_and_few() {
        for span in [10_000, 47_000, 120_000, 720_000, 3_600_000, 86_400_000, 864_000_000] {
            let ticks = axis(span).ticks();
            assert!((2..=14).contains(&ticks.len()), "{span}: {}", ticks.len());
            assert_eq!(ticks[0], 0);
            let zoomed = axis(span).zoomed(Some(Zoom { from: span / 3, to: span * 2 / 3 }));
            let ticks = zoomed.ticks();
            assert!((1..=14).contains(&ticks.len()), "{span}: {}", ticks.len());
            assert!(ticks.iter().all(|t| (span / 3..=span * 2 / 3).contains(t)), "{span}: {ticks:?}");
        }
    }

    #[test]
    fn places() {
        let at = Timestamp::from_millis;
        let axis = Axis { start: at(1000), origin: at(1000), span: 1000, until: at(1000) };
        for (ms, x) in [(0, 92.0), (1000, 92.0), (1500, 596.0), (2000, 1100.0), (99_000, 1100.0)] {
            assert_eq!(axis.x(at(ms)), x);
        }
        for ms in [1000, 1250, 1999] {
            assert!((axis.time_at(axis.x(at(ms)) / f64::from(WIDTH)).since(at(ms))).abs() <= 1);
        }
        assert_eq!(axis.time_at(0.0), at(1000));
        assert_eq!(axis.time_at(1.0), at(2000));
    }

    #[test]
    fn a_part_stays_within_the_whole() {
        let whole = axis(100_000);
        for (from, to, part) in [
            ("10", "30", Some((10_000, 30_000))),
            ("-20", "30", Some((0, 50_000))),
            ("90", "130", Some((60_000, 100_000))),
            ("10", "11", Some((10_000, 15_000))),
            ("0", "100", None),
            ("0", "9223372036854775807", None),
            ("30", "10", None),
            ("0.5", "30.25", Some((500, 30_250))),
            ("1.2345", "30", Some((1_234, 30_000))),
            ("x", "10", None),
            ("1.x", "10", None),
            ("nan", "10", None),
            ("0", "inf", None),
        ] {
            assert_eq!(Zoom::read(from, to, whole).map(|z| (z.from, z.to)), part, "{from} {to}");
        }
        for (from, to) in [(10_400, 20_101), (0, 5_000), (7, 99_993)] {
            let (zoom, (a, b)) = (Zoom { from, to }, Zoom { from, to }.write());
            assert_eq!(Zoom::read(&a, &b, whole), Some(zoom), "{a} {b}");
        }
        assert_eq!(Zoom { from: 10_400, to: 20_000 }.write(), ("10.4".to_owned(), "20".to_owned()));
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn the_timetable_moves_with_what_holds_it_up() {
        let mut view = crate::gallery::sample_view();
        let at = |s: i64| view.row.started.plus_millis(s * 1000);
        let weight = |w| Weight::new(w).unwrap();
        let planned: Vec<_> = view.planned.iter().map(|p| (p.at_ms, p.weight.percent())).collect();
        assert_eq!(
            (planned, view.planned_ms),
            (vec![(0, 5), (120_000, 25), (300_000, 50), (480_000, 100)], Some(720_000))
        );
        for (weights, elapsed, expected, span) in [
            (vec![(0, 0)], 0, (0, 0), 748_800),
            (vec![(0, 0), (2, 5)], 60, (1, 2_000), 748_800),
            (vec![(0, 0), (2, 5), (125, 25)], 200, (2, 5_000), 748_800),
            // Held since 5 %: 25 % was due at two minutes.
            (vec![(0, 0), (2, 5)], 200, (1, 80_000), 936_000),
            (vec![(0, 0), (2, 5)], 210, (1, 90_000), 936_000),
            (vec![(0, 0), (2, 5), (210, 25)], 220, (2, 90_000), 936_000),
            // Promoted early: what is left comes earlier.
            (vec![(0, 0), (2, 5), (20, 25)], 30, (2, -100_000), 748_800),
            (vec![(0, 0), (2, 5), (20, 25), (50, 0), (90, 0), (91, 5)], 100, (1, 91_000), 936_000),
            (vec![(0, 0), (2, 5), (120, 25), (300, 50), (480, 100)], 2_000, (4, 0), 2_285_156),
        ] {
            view.weights = weights.iter().map(|(s, w)| (at(*s), weight(*w))).collect();
            assert_eq!(lateness(&view, elapsed * 1000), expected, "{weights:?}");
            assert_eq!(Axis::of(&view, at(elapsed)).span, span, "{weights:?}");
        }
    }

    #[test]
    fn what_is_looked_at_stays_in_its_place() {
        let whole = axis(100_000);
        let zoom = Zoom::around(None, 25_000, 0.5, whole).unwrap();
        assert_eq!((zoom.from, zoom.to), (12_500, 62_500));
        let closer = Zoom::around(Some(zoom), 25_000, 0.5, whole).unwrap();
        assert_eq!((closer.from, closer.to), (18_750, 43_750));
        assert_eq!(Zoom::around(Some(closer), 25_000, 100.0, whole), None);
        let least = Zoom::around(Some(closer), 25_000, 1e-9, whole).unwrap();
        assert_eq!(least.to - least.from, Zoom::LEAST);
        assert_eq!(closer.moved(-1_000_000, whole), Some(Zoom { from: 0, to: 25_000 }));
    }
}
