//! The timeline of a release, drawn by `plotters` as SVG: the same code on the server and in the browser.
//!
//! Two drawings share one axis of time. [`chart`] has the lines and changes with each tick; [`marks`] has people, verdicts and
//! receipts, which are links and keep the focus, so it changes only when a receipt arrives. [`table`] says the same in rows.

mod backend;
mod chart;
mod marks;
mod series;
mod table;

use model::Timestamp;
use projections::ReleaseView;

pub use chart::chart;
pub use marks::marks;
pub use series::{BAND_OVER_MS, ERRORS_OVER_MS, Point, points};
pub use table::{TableRow, table};

/// Width of both drawings.
pub const WIDTH: u32 = 1216;
/// Where time begins.
const LEFT: i32 = 92;
/// Where time ends.
const RIGHT: i32 = 1100;

/// The axis of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Left end.
    pub start: Timestamp,
    /// Length, ms; above 0.
    pub span: i64,
    /// Up to where there is something to show: now, or the end.
    pub until: Timestamp,
}

impl Axis {
    /// From the start to the planned end, to now, or to the real end. Moves in steps while a release runs past its plan, so that
    /// the drawing does not shift each second.
    pub fn of(view: &ReleaseView, now: Timestamp) -> Self {
        /// The shortest axis, ms.
        const SHORTEST: i64 = 10_000;
        let start = view.row.started;
        let until = view.row.ended.unwrap_or(now).max(start);
        let elapsed = until.since(start);
        let planned = view.planned_ms.unwrap_or(0).max(view.planned.last().map_or(0, |p| p.at_ms));
        let span = match view.row.ended {
            Some(_) => elapsed + elapsed / 50,
            None if elapsed <= planned => planned,
            None => {
                let step = (elapsed / 10).max(30_000);
                (elapsed / step + 1) * step
            }
        };
        Self { start, span: span.max(SHORTEST), until }
    }

    /// Samples within so many milliseconds make one point: finer is noise at this scale.
    pub fn grain(&self) -> i64 {
        const POINTS: i64 = 200;
        const STEPS: [i64; 10] = [1, 2, 3, 5, 10, 15, 30, 60, 300, 900];
        let least = self.span / POINTS;
        STEPS.into_iter().map(|s| s * 1000).find(|s| *s >= least).unwrap_or(least)
    }

    fn ms(&self, at: Timestamp) -> i64 {
        at.since(self.start)
    }

    /// Place of a time on the drawing, in its units.
    fn x(&self, at: Timestamp) -> f64 {
        let share = self.ms(at) as f64 / self.span as f64;
        f64::from(LEFT) + share.clamp(0.0, 1.0) * f64::from(RIGHT - LEFT)
    }

    /// Where now (or the end) stands, as a share of the drawing's width.
    pub fn share_of_width(&self) -> f64 {
        self.x(self.until) / f64::from(WIDTH)
    }

    /// Times that carry a number: at most a dozen, round ones.
    fn ticks(&self) -> Vec<i64> {
        const STEPS: [i64; 16] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600];
        let step = STEPS.into_iter().map(|s| s * 1000).find(|s| self.span / s <= 12).unwrap_or(self.span / 6).max(1);
        (0..=self.span / step).map(|i| i * step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_the_axis_are_round_and_few() {
        for span in [10_000, 47_000, 120_000, 720_000, 3_600_000, 86_400_000, 864_000_000] {
            let axis = Axis { start: Timestamp::from_millis(0), span, until: Timestamp::from_millis(0) };
            let ticks = axis.ticks();
            assert!((2..=14).contains(&ticks.len()), "{span}: {}", ticks.len());
            assert_eq!(ticks[0], 0);
        }
    }

    #[test]
    fn places() {
        let axis = Axis { start: Timestamp::from_millis(1000), span: 1000, until: Timestamp::from_millis(1000) };
        for (at, x) in [(0, 92.0), (1000, 92.0), (1500, 596.0), (2000, 1100.0), (99_000, 1100.0)] {
            assert_eq!(axis.x(Timestamp::from_millis(at)), x);
        }
    }
}
