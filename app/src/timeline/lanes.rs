//! What lanes of lines have in common: place, frame, labels.

use std::fmt::Write as _;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    LEFT, RIGHT,
    backend::{ClassBackend, Ink, SCALE},
    marks,
};

pub(super) type Area<'a> = DrawingArea<ClassBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Height of the drawing of marks below, into which the line of now and the shades reach.
pub(super) const BELOW: i32 = marks::LANES_HEIGHT;

/// Where values at the edge end.
const EDGE: i32 = LEFT - 5;

/// A lane: where it lies and what it is called.
pub(super) struct Lane {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) top: i32,
    pub(super) bottom: i32,
}

impl Lane {
    pub(super) fn middle(&self) -> i32 {
        (self.top + self.bottom) / 2
    }

    /// Where a value lies; beyond the range, at its edge.
    pub(super) fn y(&self, (low, high): (f64, f64), value: f64) -> i32 {
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        tenths(f64::from(self.bottom) - share * f64::from(self.bottom - self.top))
    }

    /// The hairline below it.
    pub(super) fn frame(&self, root: &Area<'_>) -> Drawn {
        let y = self.bottom * SCALE + SCALE / 2;
        root.draw(&PathElement::new([(LEFT * SCALE, y), (RIGHT * SCALE, y)], Ink::Rule.style()))?;
        Ok(())
    }

    /// Why there is nothing in it.
    pub(super) fn missing(&self, root: &Area<'_>, why: &str) -> Drawn {
        let y = self.middle() * SCALE;
        text(root, Ink::Unit, &format!("n/a: {why}"), (LEFT + 6) * SCALE, y, HPos::Left, VPos::Center)
    }

    /// Labels at the ends of lines, pushed apart so that each can be read, kept within the lane.
    pub(super) fn end_labels(&self, root: &Area<'_>, x: i32, ends: Vec<(i32, Ink, String)>) -> Drawn {
        const APART: i32 = 14 * SCALE;
        // Two or three: a sort would take more code than the lane.
        let mut labels: Vec<(i32, Ink, String)> = Vec::new();
        for end in ends {
            labels.insert(labels.partition_point(|label| label.0 <= end.0), end);
        }
        let mut at = (self.top + 2) * SCALE;
        let count = i32::try_from(labels.len()).unwrap_or(0);
        for (i, (y, ink, said)) in labels.into_iter().enumerate() {
            let left = count - 1 - i32::try_from(i).unwrap_or(0);
            let lowest = (self.bottom - 2) * SCALE - left * APART;
            let y = y.max(at).min(lowest);
            at = y + APART;
            text(root, ink, &said, x + 8 * SCALE, y, HPos::Left, VPos::Center)?;
        }
        Ok(())
    }
}

/// A lane in which lines are drawn: milliseconds of the axis to the right, a value upwards. Places are computed here and not by a chart of
/// `plotters`, which brings room for titles and labels, and three kilobytes for each browser, that nothing here needs.
pub(super) struct Plane<'l, 'r, 'a> {
    pub(super) root: &'r Area<'a>,
    pub(super) lane: &'l Lane,
    /// Length of the axis, ms.
    pub(super) span: i64,
    /// Lowest and highest value.
    pub(super) range: (f64, f64),
}

impl Plane<'_, '_, '_> {
    pub(super) fn y(&self, value: f64) -> i32 {
        self.lane.y(self.range, value)
    }

    pub(super) fn at(&self, ms: i64, value: f64) -> (i32, i32) {
        (tenths(f64::from(LEFT) + ms as f64 / self.span as f64 * f64::from(RIGHT - LEFT)), self.y(value))
    }

    pub(super) fn line(&self, ink: Ink, line: &[(i64, f64)]) -> Drawn {
        self.root.draw(&PathElement::new(self.places(line), ink.style()))?;
        Ok(())
    }

    pub(super) fn area(&self, ink: Ink, around: &[(i64, f64)]) -> Drawn {
        self.root.draw(&Polygon::new(self.places(around), ink.filled()))?;
        Ok(())
    }

    fn places(&self, points: &[(i64, f64)]) -> Vec<(i32, i32)> {
        points.iter().map(|(ms, value)| self.at(*ms, *value)).collect()
    }
}

/// Values at the edge of a lane, the most important first: one that would run into one before it is left out.
pub(super) fn scale(out: &mut String, values: &[(i32, String)]) {
    const APART: i32 = 14 * SCALE;
    for (i, (y, said)) in values.iter().enumerate() {
        if values.iter().take(i).all(|(other, _)| (other - y).abs() >= APART) {
            let y = y / SCALE + 4;
            let _ = write!(out, "<text class=\"tl-axis\" x=\"{EDGE}\" y=\"{y}\">{said}</text>");
        }
    }
}

/// Names of lanes with the middle of each, and what it counts in, with the lanes' values, as an SVG element of its own: it stays in sight where
/// the drawing is wider than the screen and is scrolled.
pub(super) fn names(height: u32, lanes: &[(&str, &str, i32)], scale: &str) -> String {
    let mut out = format!("<svg class=\"tl-names\" viewBox=\"0 0 {LEFT} {height}\" aria-hidden=\"true\">");
    for (name, unit, middle) in lanes {
        let (y, below) = if unit.is_empty() { (middle + 5, 0) } else { (middle - 2, middle + 12) };
        let _ = write!(out, "<text class=\"tl-lane\" x=\"0\" y=\"{y}\">{name}</text>");
        if !unit.is_empty() {
            let _ = write!(out, "<text class=\"tl-unit\" x=\"0\" y=\"{below}\">{unit}</text>");
        }
    }
    out.push_str(scale);
    out.push_str("</svg>");
    out
}

pub(super) fn text(root: &Area<'_>, ink: Ink, said: &str, x: i32, y: i32, h: HPos, v: VPos) -> Drawn {
    let style = (FontFamily::SansSerif, 12 * SCALE).into_font().color(&ink.color()).pos(Pos::new(h, v));
    root.draw(&Text::new(said, (x, y), style))?;
    Ok(())
}

pub(super) fn tenths(units: f64) -> i32 {
    (units * f64::from(SCALE)).round() as i32
}

/// A weight's steps as a line, up to `until`.
pub(super) fn stairs(steps: &[(i64, u8)], until: i64) -> Vec<(i64, f64)> {
    let mut out: Vec<(i64, f64)> = Vec::with_capacity(steps.len() * 2 + 1);
    for (at, w) in steps {
        if let Some((_, before)) = out.last().copied() {
            out.push((*at, before));
        }
        out.push((*at, f64::from(*w)));
    }
    if let Some((_, w)) = out.last().copied().filter(|(at, _)| *at < until) {
        out.push((until, w));
    }
    out
}

/// The part of a line that lies between 0 and `span`, its ends where it crosses them.
pub(super) fn clipped(line: &[(i64, f64)], span: i64) -> Vec<(i64, f64)> {
    let at = |(x0, y0): (i64, f64), (x1, y1): (i64, f64), x: i64| {
        let share = (x - x0) as f64 / (x1 - x0).max(1) as f64;
        (x, y0 + (y1 - y0) * share)
    };
    let mut out = Vec::with_capacity(line.len());
    let mut before: Option<(i64, f64)> = None;
    for p in line.iter().copied() {
        if let Some(b) = before {
            if b.0 < 0 && p.0 > 0 {
                out.push(at(b, p, 0));
            }
            if b.0 < span && p.0 > span {
                out.push(at(b, p, span));
            }
        }
        if (0..=span).contains(&p.0) {
            out.push(p);
        }
        before = Some(p);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_they_leave_the_drawing() {
        for (line, part) in [
            (vec![], vec![]),
            (vec![(-10, 0.0), (10, 2.0), (30, 2.0)], vec![(0, 1.0), (10, 2.0), (20, 2.0)]),
            (vec![(-10, 0.0), (30, 4.0)], vec![(0, 1.0), (20, 3.0)]),
            (vec![(0, 1.0), (20, 2.0)], vec![(0, 1.0), (20, 2.0)]),
            (vec![(-20, 1.0), (-10, 2.0)], vec![]),
            (vec![(-10, 0.0), (0, 1.0)], vec![(0, 1.0)]),
        ] {
            assert_eq!(clipped(&line, 20), part, "{line:?}");
        }
    }

    #[test]
    fn values_that_would_run_into_one_before_are_left_out() {
        let mut out = String::new();
        scale(&mut out, &[(1200, "96"), (1800, "60"), (1130, "105"), (1260, "90")].map(|(y, v)| (y, v.to_owned())));
        let text = |y: i32, v: &str| format!("<text class=\"tl-axis\" x=\"87\" y=\"{y}\">{v}</text>");
        assert_eq!(out, text(124, "96") + &text(184, "60"));
    }

    #[test]
    fn weights_are_stairs() {
        assert_eq!(stairs(&[(0, 0), (5, 25)], 9), [(0, 0.0), (5, 0.0), (5, 25.0), (9, 25.0)]);
        assert_eq!(stairs(&[], 9), []);
    }
}
