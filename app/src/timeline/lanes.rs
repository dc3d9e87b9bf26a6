//! What lanes of lines have in common: place, frame, labels.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use super::{
    LEFT, RIGHT, WIDTH,
    backend::{ClassBackend, Ink, SCALE},
    chart::HEIGHT,
    marks,
};

pub(super) type Area<'a> = DrawingArea<ClassBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Height of the drawing of marks below, into which the line of now and the shades reach.
pub(super) const BELOW: i32 = marks::LANES_HEIGHT;

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

    /// A chart of its own within the drawing.
    pub(super) fn chart<'a, 'b>(&self, root: &'b Area<'a>) -> ChartBuilder<'b, 'b, ClassBackend<'a>> {
        let mut builder = ChartBuilder::on(root);
        builder
            .margin_top(self.top * SCALE)
            .margin_bottom((HEIGHT as i32 + BELOW - self.bottom) * SCALE)
            .margin_left(LEFT * SCALE)
            .margin_right((WIDTH as i32 - RIGHT) * SCALE);
        builder
    }

    /// Name, unit and the hairline below.
    pub(super) fn frame(&self, root: &Area<'_>) -> Drawn {
        let middle = self.middle();
        text(root, Ink::Lane, self.name, 0, (middle - 2) * SCALE, HPos::Left, VPos::Bottom)?;
        text(root, Ink::Unit, self.unit, 0, (middle + 12) * SCALE, HPos::Left, VPos::Bottom)?;
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
    pub(super) fn end_labels(&self, root: &Area<'_>, x: i32, mut labels: Vec<(i32, Ink, String)>) -> Drawn {
        const APART: i32 = 14 * SCALE;
        labels.sort_by_key(|(y, ..)| *y);
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

pub(super) fn text(root: &Area<'_>, ink: Ink, said: &str, x: i32, y: i32, h: HPos, v: VPos) -> Drawn {
    let style = ("sans-serif", 12 * SCALE).into_font().color(&ink.color()).pos(Pos::new(h, v));
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
    fn weights_are_stairs() {
        assert_eq!(stairs(&[(0, 0), (5, 25)], 9), [(0, 0.0), (5, 0.0), (5, 25.0), (9, 25.0)]);
        assert_eq!(stairs(&[], 9), []);
    }
}
