//! Lines: weight, p99, failures.

use model::{Kind, Tick, Timestamp};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};
use projections::{ReleaseView, say};

use super::{
    Axis, LEFT, RIGHT, WIDTH,
    backend::{ClassBackend, Ink, SCALE},
    marks,
    series::{Point, points, runs},
};

/// Height of the drawing.
const HEIGHT: u32 = 266;
/// Height of the drawing of marks below it, into which the line of now reaches.
const BELOW: i32 = marks::LANES_HEIGHT;

/// A lane: where it lies and what it is called.
struct Lane {
    name: &'static str,
    unit: &'static str,
    top: i32,
    bottom: i32,
}
const WEIGHT: Lane = Lane { name: "Weight", unit: "% of traffic", top: 36, bottom: 90 };
const P99: Lane = Lane { name: "p99", unit: "ms", top: 110, bottom: 180 };
const ERRORS: Lane = Lane { name: "5xx", unit: "of requests", top: 200, bottom: 256 };

type Area<'a> = DrawingArea<ClassBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// The lines of a release as an SVG element. Never fails: what cannot be drawn is left out.
pub fn chart(view: &ReleaseView, ticks: &[Tick], now: Timestamp) -> String {
    let rule = judge::Threshold::default();
    let axis = Axis::of(view, now);
    let points = points(ticks, rule.p99_increase, axis.grain());
    let mut out = format!(
        "<svg class=\"tl-chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Weight, p99 and failures over time; the table below has the same values\">"
    );
    // Only `plotters` itself could fail, and its backend here cannot: a string always takes more.
    let _ = draw(&mut out, view, &points, axis, &rule);
    out.push_str("</svg>");
    out
}

fn draw(out: &mut String, view: &ReleaseView, points: &[Point], axis: Axis, rule: &judge::Threshold) -> Drawn {
    // Taller than what is seen of it: the line of now and the shade of a pause reach into the drawing below.
    let root = ClassBackend::new(out, WIDTH, HEIGHT + BELOW.unsigned_abs()).into_drawing_area();
    pauses(&root, view, axis)?;
    weight(&root, view, axis)?;
    let ended = !view.row.in_flight();
    p99(&root, points, axis, rule.p99_increase, ended)?;
    errors(&root, points, axis, rule.error_ratio, ended)?;
    breach(&root, view, axis)?;
    if view.row.in_flight() {
        now_line(&root, axis)?;
    }
    root.present()?;
    Ok(())
}

fn weight(root: &Area<'_>, view: &ReleaseView, axis: Axis) -> Drawn {
    frame(root, &WEIGHT)?;
    let mut chart = lane(root, &WEIGHT)?.build_cartesian_2d(0..axis.span, 0f64..100f64)?;
    let planned: Vec<(i64, u8)> = view.planned.iter().map(|p| (p.at_ms, p.weight.percent())).collect();
    let plan_end = view.planned_ms.unwrap_or(axis.span).min(axis.span);
    if view.row.in_flight() {
        chart.draw_series(LineSeries::new(stairs(&planned, plan_end), Ink::Plan.style()))?;
    }
    let actual: Vec<(i64, u8)> =
        view.weights.iter().map(|(at, w)| (axis.ms(*at).clamp(0, axis.span), w.percent())).collect();
    let stairs_now = stairs(&actual, axis.ms(axis.until).clamp(0, axis.span));
    chart.draw_series(AreaSeries::new(stairs_now.iter().copied(), 0.0, Ink::Fill.filled()))?;
    chart.draw_series(LineSeries::new(stairs_now, Ink::Weight.style()))?;
    let mut free_from = i32::MIN;
    for (i, (at, w)) in actual.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(*at, f64::from(*w)));
        if (i > 0 || *w > 0) && x >= free_from {
            text(root, Ink::Value, &format!("{w} %"), x + 4 * SCALE, y - 5 * SCALE, HPos::Left, VPos::Bottom)?;
            free_from = x + 44 * SCALE;
        }
    }
    if view.row.in_flight() {
        let until = axis.ms(axis.until);
        for (at, w) in planned.iter().filter(|(at, w)| *at > until && *w > 0) {
            let (x, y) = chart.backend_coord(&(*at, f64::from(*w)));
            if x >= free_from {
                text(root, Ink::PlanText, &format!("{w} %"), x + 4 * SCALE, y - 5 * SCALE, HPos::Left, VPos::Bottom)?;
                free_from = x + 44 * SCALE;
            }
        }
    }
    Ok(())
}

fn p99(root: &Area<'_>, points: &[Point], axis: Axis, increase: f64, over: bool) -> Drawn {
    frame(root, &P99)?;
    let all =
        || points.iter().flat_map(|p| [p.canary_p99, p.stable_p99, p.limit, p.band.map(|(m, s)| m + s)]).flatten();
    let Some((low, top)) = range_of(all(), points.iter().filter_map(|p| p.limit)) else {
        return missing(root, &P99, "no requests yet");
    };
    let mut chart = lane(root, &P99)?.build_cartesian_2d(0..axis.span, low..top)?;
    let cut = |v: f64| v.clamp(low, top);
    for run in runs(points, |p| p.band) {
        let upper = run.iter().map(|(at, (m, s))| (axis.ms(*at), cut(m + s)));
        let lower = run.iter().rev().map(|(at, (m, s))| (axis.ms(*at), cut(m - s)));
        chart.draw_series([Polygon::new(upper.chain(lower).collect::<Vec<_>>(), Ink::Band.filled())])?;
    }
    for (ink, value) in [
        (Ink::Limit, (|p| p.limit) as fn(&Point) -> Option<f64>),
        (Ink::Stable, |p| p.stable_p99),
        (Ink::Canary, |p| p.canary_p99),
    ] {
        for run in runs(points, value) {
            chart.draw_series(LineSeries::new(run.into_iter().map(|(at, v)| (axis.ms(at), cut(v))), ink.style()))?;
        }
    }
    if let Some(silent) = silence(points, axis) {
        return end_labels(
            root,
            &P99,
            label_x(axis),
            vec![((P99.top + P99.bottom) / 2 * SCALE, Ink::LimitText, silent)],
        );
    }
    let recent = if over { points.len() } else { 3 };
    let last = |value: fn(&Point) -> Option<f64>| points.iter().rev().take(recent).find_map(value);
    let canary = last(|p| p.canary_p99);
    let limit = last(|p| p.limit);
    let beyond = canary.zip(limit).is_some_and(|(c, l)| c > l);
    let mut labels = Vec::new();
    if let Some(v) = limit {
        labels.push((v, Ink::LimitText, format!("limit {} (+{:.0} %)", say::latency(v), increase * 100.0)));
    }
    if let Some(v) = last(|p| p.stable_p99) {
        labels.push((v, Ink::StableText, format!("stable {}", say::latency(v))));
    }
    if let Some(v) = canary {
        labels.push((v, if beyond { Ink::BadText } else { Ink::CanaryText }, format!("canary {}", say::latency(v))));
    }
    let labels = labels.into_iter().map(|(v, ink, text)| (chart.backend_coord(&(0, cut(v))).1, ink, text)).collect();
    end_labels(root, &P99, label_x(axis), labels)
}

fn errors(root: &Area<'_>, points: &[Point], axis: Axis, limit: f64, over: bool) -> Drawn {
    frame(root, &ERRORS)?;
    let all = points.iter().flat_map(|p| [p.canary_errors, p.stable_errors]).flatten();
    // Rates begin at zero; a rate far beyond the limit may push the limit down to a quarter, not out of sight.
    let top = all.fold(limit * 1.5, f64::max).min(limit * 4.0);
    let mut chart = lane(root, &ERRORS)?.build_cartesian_2d(0..axis.span, 0f64..top)?;
    let until = axis.ms(axis.until).clamp(0, axis.span);
    chart.draw_series(LineSeries::new([(0, limit), (until, limit)], Ink::Limit.style()))?;
    for (ink, value) in
        [(Ink::Stable, (|p| p.stable_errors) as fn(&Point) -> Option<f64>), (Ink::Canary, |p| p.canary_errors)]
    {
        for run in runs(points, value) {
            chart
                .draw_series(LineSeries::new(run.into_iter().map(|(at, v)| (axis.ms(at), v.min(top))), ink.style()))?;
        }
    }
    let mut labels = vec![(limit, Ink::LimitText, format!("limit {limit}"))];
    if silence(points, axis).is_none()
        && let Some(v) = points.iter().rev().take(if over { points.len() } else { 3 }).find_map(|p| p.canary_errors)
    {
        labels.push((v, if v > limit { Ink::BadText } else { Ink::CanaryText }, format!("canary {}", say::ratio(v))));
    }
    let labels =
        labels.into_iter().map(|(v, ink, text)| (chart.backend_coord(&(0, v.min(top))).1, ink, text)).collect();
    end_labels(root, &ERRORS, label_x(axis), labels)
}

/// The times in which a person or the recipe's open pause held it.
fn pauses(root: &Area<'_>, view: &ReleaseView, axis: Axis) -> Drawn {
    for (from, to) in marks::holds(view, axis.until) {
        let (a, b) = (tenths(axis.x(from)), tenths(axis.x(to)));
        let end = (HEIGHT as i32 + BELOW) * SCALE;
        root.draw(&Rectangle::new([(a, 18 * SCALE), (b.max(a + SCALE), end)], Ink::Pause.filled()))?;
    }
    Ok(())
}

fn breach(root: &Area<'_>, view: &ReleaseView, axis: Axis) -> Drawn {
    let breaches = view.receipts.iter().filter(|r| r.payload.kind == Kind::CanaryAborted);
    for f in breaches.filter_map(|r| r.payload.facts::<model::event::CanaryAborted>().ok()) {
        let x = tenths(axis.x(f.breach_at));
        root.draw(&PathElement::new([(x, 18 * SCALE), (x, (HEIGHT as i32 + BELOW) * SCALE)], Ink::Breach.style()))?;
    }
    Ok(())
}

fn now_line(root: &Area<'_>, axis: Axis) -> Drawn {
    let x = tenths(axis.x(axis.until));
    root.draw(&PathElement::new([(x, 17 * SCALE), (x, (HEIGHT as i32 + BELOW) * SCALE)], Ink::Now.style()))?;
    root.draw(&Rectangle::new([(x - 24 * SCALE, 0), (x + 24 * SCALE, 17 * SCALE)], Ink::NowBox.filled()))?;
    text(root, Ink::NowText, &say::axis(axis.ms(axis.until)), x, 12 * SCALE + SCALE / 2, HPos::Center, VPos::Bottom)
}

fn lane<'a, 'b>(
    root: &'b Area<'a>,
    lane: &Lane,
) -> Result<ChartBuilder<'b, 'b, ClassBackend<'a>>, Box<dyn std::error::Error>> {
    let mut builder = ChartBuilder::on(root);
    builder
        .margin_top(lane.top * SCALE)
        .margin_bottom((HEIGHT as i32 + BELOW - lane.bottom) * SCALE)
        .margin_left(LEFT * SCALE)
        .margin_right((WIDTH as i32 - RIGHT) * SCALE);
    Ok(builder)
}

/// Name, unit and the hairline below.
fn frame(root: &Area<'_>, lane: &Lane) -> Drawn {
    let middle = (lane.top + lane.bottom) / 2;
    text(root, Ink::Lane, lane.name, 0, (middle - 2) * SCALE, HPos::Left, VPos::Bottom)?;
    text(root, Ink::Unit, lane.unit, 0, (middle + 12) * SCALE, HPos::Left, VPos::Bottom)?;
    let y = lane.bottom * SCALE + SCALE / 2;
    root.draw(&PathElement::new([(LEFT * SCALE, y), (RIGHT * SCALE, y)], Ink::Rule.style()))?;
    Ok(())
}

fn missing(root: &Area<'_>, lane: &Lane, why: &str) -> Drawn {
    let middle = (lane.top + lane.bottom) / 2;
    text(root, Ink::Unit, &format!("n/a: {why}"), (LEFT + 6) * SCALE, middle * SCALE, HPos::Left, VPos::Center)
}

/// Labels at the ends of lines, pushed apart so that each can be read, kept within the lane.
fn end_labels(root: &Area<'_>, lane: &Lane, x: i32, mut labels: Vec<(i32, Ink, String)>) -> Drawn {
    const APART: i32 = 14 * SCALE;
    labels.sort_by_key(|(y, ..)| *y);
    let mut at = (lane.top + 2) * SCALE;
    let count = i32::try_from(labels.len()).unwrap_or(0);
    for (i, (y, ink, said)) in labels.into_iter().enumerate() {
        let left = count - 1 - i32::try_from(i).unwrap_or(0);
        let lowest = (lane.bottom - 2) * SCALE - left * APART;
        let y = y.max(at).min(lowest);
        at = y + APART;
        text(root, ink, &said, x + 8 * SCALE, y, HPos::Left, VPos::Center)?;
    }
    Ok(())
}

pub(super) fn text(root: &Area<'_>, ink: Ink, said: &str, x: i32, y: i32, h: HPos, v: VPos) -> Drawn {
    let style = ("sans-serif", 12 * SCALE).into_font().color(&ink.color()).pos(Pos::new(h, v));
    root.draw(&Text::new(said, (x, y), style))?;
    Ok(())
}

/// The values to show: all of them with some air, but none beyond two limits, so that one slow second does not flatten the rest.
/// Latency does not begin at zero: what matters is the distance of two lines that lie close together.
fn range_of(all: impl Iterator<Item = f64>, limits: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    /// At least this share of the highest value is shown, so that noise does not look like a mountain.
    const SHARE: f64 = 0.3;
    let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let limit = limits.fold(f64::NEG_INFINITY, f64::max);
    let high = if limit > 0.0 { high.min(limit * 2.0) } else { high };
    let low = low.min(high);
    if !high.is_finite() || high <= 0.0 {
        return None;
    }
    let air = ((high - low) * 0.12).max(high * 0.01);
    Some(((low - air).min(high - high * SHARE).max(0.0), high + air))
}

/// Labels stand where there is something to show ends: at now, or at the end.
fn label_x(axis: Axis) -> i32 {
    tenths(axis.x(axis.until))
}

/// What is said instead of a value when the last one is old.
fn silence(points: &[Point], axis: Axis) -> Option<String> {
    /// Longer than any usual distance of two points.
    const QUIET_MS: i64 = 10_000;
    let last = points.last()?;
    let quiet = axis.until.since(last.at);
    (quiet > QUIET_MS.max(axis.grain() * 3)).then(|| format!("no samples for {}", say::clock(quiet)))
}

fn stairs(steps: &[(i64, u8)], until: i64) -> Vec<(i64, f64)> {
    let mut out: Vec<(i64, f64)> = Vec::with_capacity(steps.len() * 2 + 1);
    for (at, w) in steps {
        if let Some((_, before)) = out.last().copied() {
            out.push((*at, before));
        }
        out.push((*at, f64::from(*w)));
    }
    if let Some((at, w)) = out.last().copied().filter(|(at, _)| *at < until) {
        let _ = at;
        out.push((until, w));
    }
    out
}

pub(super) fn tenths(units: f64) -> i32 {
    (units * f64::from(SCALE)).round() as i32
}
