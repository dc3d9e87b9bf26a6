//! Lines: weight, p99, failures, the error budget's burn.

use std::fmt::Write as _;

use model::{Kind, Weight};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, VPos},
};
use projections::{Phase, ReleaseView, say};

use super::{
    Axis, WIDTH,
    axis::lateness,
    backend::{ClassBackend, Ink, SCALE},
    lanes::{Area, BELOW, Drawn, Lane, Plane, clipped, names, scale, stairs, tenths, text},
    limits::Limits,
    marks,
    series::{Point, runs},
};

/// Height of the drawing.
pub(super) const HEIGHT: u32 = 330;

const WEIGHT: Lane = Lane { name: "Weight", unit: "% of traffic", top: 36, bottom: 90 };
const P99: Lane = Lane { name: "p99", unit: "ms", top: 110, bottom: 180 };
const ERRORS: Lane = Lane { name: "5xx", unit: "of requests", top: 200, bottom: 256 };
const BUDGET: Lane = Lane { name: "Budget", unit: "burn rate", top: 272, bottom: 322 };

/// The lines of a release as an SVG element, before one with the names and values of its lanes. Never fails: what cannot be drawn is left out.
pub fn chart(view: &ReleaseView, points: &[Point], axis: Axis) -> String {
    let limits = Limits::of(view);
    let (mut out, mut scale) = (String::new(), String::new());
    let _ = write!(
        out,
        "<svg class=\"tl-chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Weight, p99, failures and budget over time; the table below has the same values\">"
    );
    // Only `plotters` itself could fail, and its backend here cannot: a string always takes more.
    let _ = draw(&mut out, &mut scale, view, points, axis, limits);
    out.push_str("</svg>");
    out + &names(HEIGHT, &[WEIGHT, P99, ERRORS, BUDGET].map(|lane| (lane.name, lane.unit, lane.middle())), &scale)
}

fn draw(
    out: &mut String,
    scale: &mut String,
    view: &ReleaseView,
    points: &[Point],
    axis: Axis,
    limits: Limits,
) -> Drawn {
    // Taller than what is seen of it: the line of now and the shade of a pause reach into the drawing below.
    let root = ClassBackend::new(out, WIDTH, HEIGHT + BELOW.unsigned_abs()).into_drawing_area();
    let points = seen(points, axis);
    let ended = !view.row.in_flight();
    pauses(&root, view, axis)?;
    weight(&root, scale, view, axis)?;
    p99(&root, scale, points, axis, limits, ended)?;
    errors(&root, scale, points, axis, limits.error_ratio, ended)?;
    budget(&root, scale, points, axis, ended)?;
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

/// The weights that are in force somewhere on the axis, from where they are: of those before it only the last, none behind it.
fn in_force(weights: impl Iterator<Item = (i64, u8)>, span: i64) -> Vec<(i64, u8)> {
    let mut out: Vec<(i64, u8)> = Vec::new();
    for (at, weight) in weights.filter(|(at, _)| *at <= span) {
        if at <= 0 {
            out.clear();
        }
        out.push((at.max(0), weight));
    }
    out
}

/// What is planned on the axis: nothing once it is stopped or at its end, and where the steps are skipped only the jump that is left. What has
/// come stands where it was planned, what is left where it is due by now.
fn planned(view: &ReleaseView, axis: Axis) -> Vec<(i64, u8)> {
    let row = &view.row;
    let now = axis.since(axis.until);
    let plan: Vec<(i64, u8)> = match row.phase {
        Phase::Ended(_) | Phase::Aborting => Vec::new(),
        _ if row.promoted || row.skipping && row.weight == Weight::FULL => Vec::new(),
        _ if row.skipping => vec![(now, Weight::FULL.percent())],
        _ => {
            let (reached, late) = lateness(view, now);
            let next = view.planned.get(reached).map_or(now, |p| p.at_ms.saturating_add(late));
            let due = |i: usize, at: i64| if i < reached { at.min(next) } else { at.saturating_add(late) };
            view.planned.iter().enumerate().map(|(i, p)| (due(i, p.at_ms), p.weight.percent())).collect()
        }
    };
    in_force(plan.into_iter().map(|(at, weight)| (at.saturating_sub(axis.since(axis.start)), weight)), axis.span)
}

fn weight(root: &Area<'_>, out: &mut String, view: &ReleaseView, axis: Axis) -> Drawn {
    WEIGHT.frame(root)?;
    scale(out, &[(WEIGHT.bottom * SCALE, "0".to_owned()), (WEIGHT.top * SCALE, "100".to_owned())]);
    let plane = Plane { root, lane: &WEIGHT, span: axis.span, range: (0.0, 100.0) };
    let place = |ms: i64| ms.saturating_sub(axis.since(axis.start)).clamp(0, axis.span);
    let planned = planned(view, axis);
    let (_, late) = lateness(view, axis.since(axis.until));
    let plan_end = place(view.planned_ms.map_or(i64::MAX, |ms| ms.saturating_add(late)));
    if !planned.is_empty() {
        plane.line(Ink::Plan, &stairs(&planned, plan_end))?;
    }
    let actual = in_force(view.weights.iter().map(|(at, w)| (axis.ms(*at), w.percent())), axis.span);
    let until = place(axis.since(axis.until));
    let stairs_now = stairs(&actual, until);
    if let [(first, _), .., (last, _)] = stairs_now[..] {
        plane.area(Ink::Fill, &[&stairs_now[..], &[(last, 0.0), (first, 0.0)]].concat())?;
    }
    plane.line(Ink::Weight, &stairs_now)?;
    let mut free_from = i32::MIN;
    let mut label = |ink, at: i64, w: u8| -> Drawn {
        let (x, y) = plane.at(at, f64::from(w));
        if x >= free_from {
            text(root, ink, &format!("{w} %"), x + 4 * SCALE, y - 5 * SCALE, HPos::Left, VPos::Bottom)?;
            free_from = x + 44 * SCALE;
        }
        Ok(())
    };
    for (i, (at, w)) in actual.iter().enumerate() {
        if (i > 0 || *w > 0) && *at < axis.span {
            label(Ink::Value, *at, *w)?;
        }
    }
    for (at, w) in planned.iter().filter(|(at, w)| *at >= until && *at < axis.span && *w > 0) {
        label(Ink::PlanText, *at, *w)?;
    }
    Ok(())
}

fn p99(root: &Area<'_>, out: &mut String, points: &[Point], axis: Axis, limits: Limits, over: bool) -> Drawn {
    P99.frame(root)?;
    let all =
        || points.iter().flat_map(|p| [p.canary_p99, p.stable_p99, p.limit, p.band.map(|(m, s)| m + s)]).flatten();
    let Some((low, top)) = range_of(all(), points.iter().filter_map(|p| p.limit)) else {
        return P99.missing(root, "no requests yet");
    };
    let plane = Plane { root, lane: &P99, span: axis.span, range: (low, top) };
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
            plane.area(Ink::Band, &band)?;
        }
    }
    for (ink, value) in [
        (Ink::Limit, (|p| p.limit) as fn(&Point) -> Option<f64>),
        (Ink::Stable, |p| p.stable_p99),
        (Ink::Canary, |p| p.canary_p99),
    ] {
        for line in lines(points, axis, value, cut) {
            plane.line(ink, &line)?;
        }
    }
    beyond(&plane, points, axis, |p| p.canary_p99.into_iter().chain(p.stable_p99).reduce(f64::max), say::latency)?;
    let last = |value: fn(&Point) -> Option<f64>| last_of(points, over, value);
    let limit = last(|p| p.limit);
    let place = |v: f64| plane.y(v);
    scale(out, &[limit.unwrap_or(top), low, top].map(|v| (place(v), say::latency(v))));
    if let Some(silent) = silence(points, axis) {
        return P99.end_labels(root, label_x(axis), vec![(P99.middle() * SCALE, Ink::LimitText, silent)]);
    }
    let canary = last(|p| p.canary_p99);
    let beyond = canary.zip(limit).is_some_and(|(c, l)| c > l);
    let mut labels = Vec::new();
    if let Some((v, increase)) = limit.zip(limits.p99_increase) {
        let said = format!("{} {} (+{:.0} %)", limits.word(), say::latency(v), increase * 100.0);
        labels.push((v, Ink::LimitText, said));
    }
    if let Some(v) = last(|p| p.stable_p99) {
        labels.push((v, Ink::StableText, format!("stable {}", say::latency(v))));
    }
    if let Some(v) = canary {
        labels.push((v, if beyond { Ink::BadText } else { Ink::CanaryText }, format!("canary {}", say::latency(v))));
    }
    let labels = labels.into_iter().map(|(v, ink, text)| (place(v), ink, text)).collect();
    P99.end_labels(root, label_x(axis), labels)
}

fn errors(root: &Area<'_>, out: &mut String, points: &[Point], axis: Axis, limit: Option<f64>, over: bool) -> Drawn {
    ERRORS.frame(root)?;
    let all = points.iter().flat_map(|p| [p.canary_errors, p.stable_errors]).flatten();
    // Rates begin at zero; a rate far beyond the limit may push the limit down to a quarter, not out of sight.
    let top = match limit {
        Some(limit) => all.fold(limit * 1.5, f64::max).min(limit * 4.0),
        None => all.fold(0.01, f64::max),
    };
    let plane = Plane { root, lane: &ERRORS, span: axis.span, range: (0.0, top) };
    if let Some(limit) = limit {
        plane.line(Ink::Limit, &[(0, limit), (drawn_until(axis), limit)])?;
    }
    for (ink, value) in
        [(Ink::Stable, (|p| p.stable_errors) as fn(&Point) -> Option<f64>), (Ink::Canary, |p| p.canary_errors)]
    {
        for line in lines(points, axis, value, |v| v.min(top)) {
            plane.line(ink, &line)?;
        }
    }
    beyond(&plane, points, axis, |p| p.canary_errors.into_iter().chain(p.stable_errors).reduce(f64::max), say::ratio)?;
    let place = |v: f64| plane.y(v);
    scale(out, &[limit.unwrap_or(top), 0.0, top].map(|v| (place(v), say::ratio(v))));
    let mut labels: Vec<_> =
        limit.iter().map(|limit| (*limit, Ink::LimitText, format!("limit {}", say::ratio(*limit)))).collect();
    if silence(points, axis).is_none()
        && let Some(v) = last_of(points, over, |p| p.canary_errors)
    {
        labels.push((
            v,
            if limit.is_some_and(|limit| v > limit) { Ink::BadText } else { Ink::CanaryText },
            format!("canary {}", say::ratio(v)),
        ));
    }
    let labels = labels.into_iter().map(|(v, ink, text)| (place(v), ink, text)).collect();
    ERRORS.end_labels(root, label_x(axis), labels)
}

/// How fast the canary burns the error budget, over the short windows of the fast and the slow alert.
fn budget(root: &Area<'_>, out: &mut String, points: &[Point], axis: Axis, over: bool) -> Drawn {
    BUDGET.frame(root)?;
    let [(_, fast_limit, ..), (_, slow_limit, ..)] = judge::BURN_ALERTS;
    if points.iter().all(|p| p.burn_fast.is_none()) {
        return BUDGET.missing(root, "no requests of the canary yet");
    }
    let most = points.iter().flat_map(|p| [p.burn_fast, p.burn_slow]).flatten().fold(0.0, f64::max);
    let top = most.clamp(fast_limit * 1.2, fast_limit * 4.0);
    let plane = Plane { root, lane: &BUDGET, span: axis.span, range: (0.0, top) };
    for limit in [fast_limit, slow_limit] {
        plane.line(Ink::Limit, &[(0, limit), (drawn_until(axis), limit)])?;
    }
    for (ink, value) in
        [(Ink::BurnSlow, (|p| p.burn_slow) as fn(&Point) -> Option<f64>), (Ink::BurnFast, |p| p.burn_fast)]
    {
        for line in lines(points, axis, value, |v| v.min(top)) {
            plane.line(ink, &line)?;
        }
    }
    beyond(&plane, points, axis, |p| p.burn_fast, say::rate)?;
    let place = |v: f64| plane.y(v);
    scale(out, &[fast_limit, slow_limit, 0.0, top].map(|v| (place(v), say::rate(v))));
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
    let labels = labels.map(|(v, (ink, text))| (place(v), ink, text)).collect();
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

/// How far lines go that leave their lane at its top: the highest value, where it is.
fn beyond(
    plane: &Plane<'_, '_, '_>,
    points: &[Point],
    axis: Axis,
    value: fn(&Point) -> Option<f64>,
    words: fn(f64) -> String,
) -> Drawn {
    let (_, top) = plane.range;
    let mut highest = None;
    for p in points.iter().filter(|p| axis.shows(p.at)) {
        let least = highest.map_or(top, |(_, v)| v);
        highest = value(p).filter(|v| *v > least).map(|v| (p.at, v)).or(highest);
    }
    let Some((at, v)) = highest else { return Ok(()) };
    let (x, y) = plane.at(axis.ms(at), top);
    text(plane.root, Ink::Value, &format!("↑ {}", words(v)), x, y - 2 * SCALE, HPos::Center, VPos::Bottom)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "ssr")]
    fn second(at: model::Timestamp, canary_p99: f64, limit: f64, gap: bool) -> Point {
        Point {
            at,
            weight: 5,
            canary_p99: Some(canary_p99),
            stable_p99: Some(80.0),
            band: None,
            limit: Some(limit),
            canary_errors: Some(0.0),
            stable_errors: Some(0.0),
            burn_fast: Some(0.0),
            burn_slow: Some(0.0),
            canary_n: 7,
            gap,
        }
    }

    #[test]
    fn a_part_of_the_axis_has_the_weights_in_force_there() {
        let weights = [(0, 0), (1, 5), (20, 25), (50, 50), (80, 100)];
        let part = |from: i64, span| in_force(weights.iter().map(|(at, w)| (at - from, *w)), span);
        assert_eq!(part(0, 100), weights);
        assert_eq!(part(30, 15), [(0, 25)], "no jump at an edge");
        assert_eq!(part(30, 25), [(0, 25), (20, 50)]);
        assert_eq!(part(-10, 5), [], "before it began");
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn lanes_have_their_values_at_the_edge() {
        let view = crate::gallery::sample_view();
        let at = |s: i64| view.row.started.plus_millis(s * 1000);
        let point = |s, limit: f64| Point { band: Some((80.0, 2.0)), ..second(at(s), 90.0, limit, s == 1) };
        let edge = |points: &[Point]| {
            let svg = chart(&view, points, Axis::of(&view, at(3)));
            let names = svg.split_once("class=\"tl-names\"").unwrap().1.to_owned();
            let values = names.split("class=\"tl-axis\"").skip(1).filter_map(|v| v.split(['>', '<']).nth(1));
            values.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let [burn_fast, burn_slow] = judge::BURN_ALERTS.map(|(_, limit, ..)| say::rate(limit));
        assert_eq!(
            edge(&[point(1, 120.0), point(2, 110.0)]),
            ["0", "100", "110", "75", "125", "1 %", "0 %", "1.5 %", &burn_fast, &burn_slow, "0"],
            "the limit as it is now, and the ends"
        );
        assert_eq!(edge(&[]), ["0", "100", "1 %", "0 %", "1.5 %"], "where nothing was counted there is no scale");
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn what_leaves_its_lane_says_how_far() {
        let view = crate::gallery::sample_view();
        let at = |s: i64| view.row.started.plus_millis(s * 1000);
        let axis = Axis { until: at(60), ..Axis::of(&view, at(60)) };
        let mut points = Vec::new();
        for (s, p99) in [(1, 90.0), (2, 411.0), (3, 1_250.0), (4, 90.0)] {
            points.push(second(at(s), p99, 88.0, s == 1));
        }
        let far = |points: &[Point]| chart(&view, points, axis).matches('↑').count();
        assert!(chart(&view, &points, axis).contains(">↑ 1,250</text>"));
        assert_eq!((far(&points), far(&points[..1])), (1, 0), "once, and only where something leaves it");
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn what_will_not_come_is_not_planned() {
        let mut view = crate::gallery::sample_view();
        let now = view.row.started.plus_millis(200_000);
        let axis = Axis::of(&view, now);
        let (weight, phase) = (Weight::new(25).unwrap(), view.row.phase.clone());
        view.row.weight = weight;
        view.weights.retain(|(at, _)| *at <= now);
        let drawn = |view: &ReleaseView| chart(view, &[], axis).contains("class=\"tl-plan\"");
        assert_eq!(planned(&view, axis), [(0, 5), (120_000, 25), (302_000, 50), (482_000, 100)], "25 % came 2 s late");
        assert!(drawn(&view));
        let (came, _) = view.weights.last_mut().unwrap();
        *came = view.row.started.plus_millis(121_000);
        assert_eq!(planned(&view, axis), [(0, 5), (120_000, 25), (301_000, 50), (481_000, 100)], "1 s late");
        view.row.skipping = true;
        assert_eq!(planned(&view, axis), [(200_000, 100)], "the jump that is left");
        assert!(chart(&view, &[], axis).contains(">100 %</text>"));
        view.row.weight = Weight::FULL;
        assert!(!drawn(&view), "it has jumped");
        (view.row.skipping, view.row.promoted) = (false, true);
        assert!(!drawn(&view), "it is stable");
        (view.row.promoted, view.row.weight) = (false, weight);
        assert!(drawn(&view));
        for over in [Phase::Aborting, Phase::Ended(model::event::Outcome::Aborted)] {
            view.row.phase = over;
            assert!(!drawn(&view), "it is stopped");
        }
        view.row.phase = phase;
        assert!(drawn(&view), "it is tried again");
    }
}
