//! Lines: weight, p99, failures, the error budget's burn.

use model::Kind;
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, VPos},
};
use projections::{ReleaseView, say};

use super::{
    Axis, WIDTH,
    backend::{ClassBackend, Ink, SCALE},
    lanes::{Area, BELOW, Drawn, Lane, clipped, stairs, tenths, text},
    marks,
    series::{Point, runs},
};

/// Height of the drawing.
pub(super) const HEIGHT: u32 = 330;

const WEIGHT: Lane = Lane { name: "Weight", unit: "% of traffic", top: 36, bottom: 90 };
const P99: Lane = Lane { name: "p99", unit: "ms", top: 110, bottom: 180 };
const ERRORS: Lane = Lane { name: "5xx", unit: "of requests", top: 200, bottom: 256 };
const BUDGET: Lane = Lane { name: "Budget", unit: "burn rate", top: 272, bottom: 322 };

/// The lines of a release as an SVG element. Never fails: what cannot be drawn is left out.
pub fn chart(view: &ReleaseView, points: &[Point], axis: Axis) -> String {
    let rule = judge::Threshold::default();
    let mut out = format!(
        "<svg class=\"tl-chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Weight, p99, failures and budget over time; the table below has the same values\">"
    );
    // Only `plotters` itself could fail, and its backend here cannot: a string always takes more.
    let _ = draw(&mut out, view, points, axis, &rule);
    out.push_str("</svg>");
    out
}

fn draw(out: &mut String, view: &ReleaseView, points: &[Point], axis: Axis, rule: &judge::Threshold) -> Drawn {
    // Taller than what is seen of it: the line of now and the shade of a pause reach into the drawing below.
    let root = ClassBackend::new(out, WIDTH, HEIGHT + BELOW.unsigned_abs()).into_drawing_area();
    let points = seen(points, axis);
    let ended = !view.row.in_flight();
    pauses(&root, view, axis)?;
    weight(&root, view, axis)?;
    p99(&root, points, axis, rule.p99_increase, ended)?;
    errors(&root, points, axis, rule.error_ratio, ended)?;
    budget(&root, points, axis, ended)?;
    breach(&root, view, axis)?;
    if !ended && axis.shows(axis.until) {
        now_line(&root, axis)?;
    }
    root.present()?;
    Ok(())
}

/// The points on the axis with one more at each end, so that lines lead out of the drawing.
fn seen(points: &[Point], axis: Axis) -> &[Point] {
    let first = points.partition_point(|p| axis.ms(p.at) < 0).saturating_sub(1);
    let end = (points.partition_point(|p| axis.ms(p.at) <= axis.span) + 1).min(points.len());
    points.get(first..end.max(first)).unwrap_or_default()
}

fn weight(root: &Area<'_>, view: &ReleaseView, axis: Axis) -> Drawn {
    WEIGHT.frame(root)?;
    let mut chart = WEIGHT.chart(root).build_cartesian_2d(0..axis.span, 0f64..100f64)?;
    let place = |ms: i64| (ms - axis.since(axis.start)).clamp(0, axis.span);
    let planned: Vec<(i64, u8)> = view.planned.iter().map(|p| (place(p.at_ms), p.weight.percent())).collect();
    let plan_end = place(view.planned_ms.unwrap_or(i64::MAX / 4));
    if view.row.in_flight() {
        chart.draw_series(LineSeries::new(stairs(&planned, plan_end), Ink::Plan.style()))?;
    }
    let actual: Vec<(i64, u8)> = view.weights.iter().map(|(at, w)| (place(axis.since(*at)), w.percent())).collect();
    let until = place(axis.since(axis.until));
    let stairs_now = stairs(&actual, until);
    chart.draw_series(AreaSeries::new(stairs_now.iter().copied(), 0.0, Ink::Fill.filled()))?;
    chart.draw_series(LineSeries::new(stairs_now, Ink::Weight.style()))?;
    let mut free_from = i32::MIN;
    let mut label = |ink, at: i64, w: u8| -> Drawn {
        let (x, y) = chart.backend_coord(&(at, f64::from(w)));
        if x >= free_from {
            text(root, ink, &format!("{w} %"), x + 4 * SCALE, y - 5 * SCALE, HPos::Left, VPos::Bottom)?;
            free_from = x + 44 * SCALE;
        }
        Ok(())
    };
    for (i, (at, w)) in actual.iter().enumerate() {
        // Of several at the left end only the last one is in force there.
        let hidden = actual.get(i + 1).is_some_and(|(next, _)| *next == *at) && (*at == 0 || *at == axis.span);
        if (i > 0 || *w > 0) && !hidden && *at < axis.span {
            label(Ink::Value, *at, *w)?;
        }
    }
    if view.row.in_flight() {
        for (at, w) in planned.iter().filter(|(at, w)| *at > until && *at < axis.span && *w > 0) {
            label(Ink::PlanText, *at, *w)?;
        }
    }
    Ok(())
}

fn p99(root: &Area<'_>, points: &[Point], axis: Axis, increase: f64, over: bool) -> Drawn {
    P99.frame(root)?;
    let all =
        || points.iter().flat_map(|p| [p.canary_p99, p.stable_p99, p.limit, p.band.map(|(m, s)| m + s)]).flatten();
    let Some((low, top)) = range_of(all(), points.iter().filter_map(|p| p.limit)) else {
        return P99.missing(root, "no requests yet");
    };
    let mut chart = P99.chart(root).build_cartesian_2d(0..axis.span, low..top)?;
    let cut = |v: f64| v.clamp(low, top);
    for run in runs(points, |p| p.band) {
        let edge = |sign: f64| {
            clipped(
                &run.iter().map(|(at, (m, s))| (axis.ms(*at), cut(m + s * sign))).collect::<Vec<_>>(),
                drawn_until(axis),
            )
        };
        let band: Vec<_> = edge(1.0).into_iter().chain(edge(-1.0).into_iter().rev()).collect();
        if !band.is_empty() {
            chart.draw_series([Polygon::new(band, Ink::Band.filled())])?;
        }
    }
    for (ink, value) in [
        (Ink::Limit, (|p| p.limit) as fn(&Point) -> Option<f64>),
        (Ink::Stable, |p| p.stable_p99),
        (Ink::Canary, |p| p.canary_p99),
    ] {
        for line in lines(points, axis, value, cut) {
            chart.draw_series(LineSeries::new(line, ink.style()))?;
        }
    }
    if let Some(silent) = silence(points, axis) {
        return P99.end_labels(root, label_x(axis), vec![(P99.middle() * SCALE, Ink::LimitText, silent)]);
    }
    let last = |value: fn(&Point) -> Option<f64>| last_of(points, over, value);
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
    P99.end_labels(root, label_x(axis), labels)
}

fn errors(root: &Area<'_>, points: &[Point], axis: Axis, limit: f64, over: bool) -> Drawn {
    ERRORS.frame(root)?;
    let all = points.iter().flat_map(|p| [p.canary_errors, p.stable_errors]).flatten();
    // Rates begin at zero; a rate far beyond the limit may push the limit down to a quarter, not out of sight.
    let top = all.fold(limit * 1.5, f64::max).min(limit * 4.0);
    let mut chart = ERRORS.chart(root).build_cartesian_2d(0..axis.span, 0f64..top)?;
    chart.draw_series(LineSeries::new([(0, limit), (drawn_until(axis), limit)], Ink::Limit.style()))?;
    for (ink, value) in
        [(Ink::Stable, (|p| p.stable_errors) as fn(&Point) -> Option<f64>), (Ink::Canary, |p| p.canary_errors)]
    {
        for line in lines(points, axis, value, |v| v.min(top)) {
            chart.draw_series(LineSeries::new(line, ink.style()))?;
        }
    }
    let mut labels = vec![(limit, Ink::LimitText, format!("limit {}", say::ratio(limit)))];
    if silence(points, axis).is_none()
        && let Some(v) = last_of(points, over, |p| p.canary_errors)
    {
        labels.push((v, if v > limit { Ink::BadText } else { Ink::CanaryText }, format!("canary {}", say::ratio(v))));
    }
    let labels =
        labels.into_iter().map(|(v, ink, text)| (chart.backend_coord(&(0, v.min(top))).1, ink, text)).collect();
    ERRORS.end_labels(root, label_x(axis), labels)
}

/// How fast the canary burns the error budget, over the short windows of the fast and the slow alert.
fn budget(root: &Area<'_>, points: &[Point], axis: Axis, over: bool) -> Drawn {
    BUDGET.frame(root)?;
    let [(_, fast_limit, ..), (_, slow_limit, ..)] = judge::BURN_ALERTS;
    if points.iter().all(|p| p.burn_fast.is_none()) {
        return BUDGET.missing(root, "no requests of the canary yet");
    }
    let most = points.iter().flat_map(|p| [p.burn_fast, p.burn_slow]).flatten().fold(0.0, f64::max);
    let top = most.clamp(fast_limit * 1.2, fast_limit * 4.0);
    let mut chart = BUDGET.chart(root).build_cartesian_2d(0..axis.span, 0f64..top)?;
    for limit in [fast_limit, slow_limit] {
        chart.draw_series(LineSeries::new([(0, limit), (drawn_until(axis), limit)], Ink::Limit.style()))?;
    }
    for (ink, value) in
        [(Ink::BurnSlow, (|p| p.burn_slow) as fn(&Point) -> Option<f64>), (Ink::BurnFast, |p| p.burn_fast)]
    {
        for line in lines(points, axis, value, |v| v.min(top)) {
            chart.draw_series(LineSeries::new(line, ink.style()))?;
        }
    }
    if silence(points, axis).is_some() {
        return Ok(());
    }
    let label = |name: &str, v: f64, limit: f64| {
        (if v >= limit { Ink::BadText } else { Ink::Value }, format!("{name} {} of {limit}", say::rate(v)))
    };
    let values = [
        last_of(points, over, |p| p.burn_fast).map(|v| (v, label("fast", v, fast_limit))),
        last_of(points, over, |p| p.burn_slow).map(|v| (v, label("slow", v, slow_limit))),
    ];
    let labels = values.into_iter().flatten();
    let labels = labels.map(|(v, (ink, text))| (chart.backend_coord(&(0, v.min(top))).1, ink, text)).collect();
    BUDGET.end_labels(root, label_x(axis), labels)
}

/// A value's lines on the axis.
fn lines(
    points: &[Point],
    axis: Axis,
    value: fn(&Point) -> Option<f64>,
    cut: impl Fn(f64) -> f64,
) -> impl Iterator<Item = Vec<(i64, f64)>> {
    let lines = runs(points, value).into_iter().map(move |run| {
        let run: Vec<(i64, f64)> = run.into_iter().map(|(at, v)| (axis.ms(at), cut(v))).collect();
        clipped(&run, drawn_until(axis))
    });
    lines.filter(|line| !line.is_empty())
}

/// The last value: of an ended release the last there was, else one of the last points.
fn last_of(points: &[Point], over: bool, value: fn(&Point) -> Option<f64>) -> Option<f64> {
    points.iter().rev().take(if over { points.len() } else { 3 }).find_map(value)
}

/// The times in which a person or the recipe's open pause held it, with the reason.
fn pauses(root: &Area<'_>, view: &ReleaseView, axis: Axis) -> Drawn {
    let on = |h: &marks::Hold| axis.ms(h.to) > 0 && axis.ms(h.from) < axis.span;
    for hold in marks::holds(view, axis.until).iter().filter(|h| on(h)) {
        let (a, b) = (tenths(axis.x(hold.from)), tenths(axis.x(hold.to)));
        let end = (HEIGHT as i32 + BELOW) * SCALE;
        root.draw(&Rectangle::new([(a, 18 * SCALE), (b.max(a + SCALE), end)], Ink::Pause.filled()))?;
        text(root, Ink::PauseText, &hold.said(), a + 4 * SCALE, 103 * SCALE, HPos::Left, VPos::Bottom)?;
    }
    Ok(())
}

fn breach(root: &Area<'_>, view: &ReleaseView, axis: Axis) -> Drawn {
    let breaches = view.receipts.iter().filter(|r| r.payload.kind == Kind::CanaryAborted);
    for f in breaches.filter_map(|r| r.payload.facts::<model::event::CanaryAborted>().ok()) {
        if axis.shows(f.breach_at) {
            let x = tenths(axis.x(f.breach_at));
            let line = [(x, 18 * SCALE), (x, (HEIGHT as i32 + BELOW) * SCALE)];
            root.draw(&PathElement::new(line, Ink::Breach.style()))?;
        }
    }
    Ok(())
}

fn now_line(root: &Area<'_>, axis: Axis) -> Drawn {
    let x = tenths(axis.x(axis.until));
    root.draw(&PathElement::new([(x, 17 * SCALE), (x, (HEIGHT as i32 + BELOW) * SCALE)], Ink::Now.style()))?;
    root.draw(&Rectangle::new([(x - 24 * SCALE, 0), (x + 24 * SCALE, 17 * SCALE)], Ink::NowBox.filled()))?;
    text(root, Ink::NowText, &say::axis(axis.since(axis.until)), x, 12 * SCALE + SCALE / 2, HPos::Center, VPos::Bottom)
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

/// Up to where limits are drawn, from the left end.
fn drawn_until(axis: Axis) -> i64 {
    axis.ms(axis.until).clamp(0, axis.span)
}

/// What is said instead of a value when the last one is old.
fn silence(points: &[Point], axis: Axis) -> Option<String> {
    /// Longer than any usual distance of two points.
    const QUIET_MS: i64 = 10_000;
    if !axis.shows(axis.until) {
        return None;
    }
    let last = points.last()?;
    let quiet = axis.until.since(last.at);
    (quiet > QUIET_MS.max(axis.grain() * 3)).then(|| format!("no samples for {}", say::clock(quiet)))
}
