//! The judge's lanes: evidence, and what could still be true, on the timeline's axis.

use std::fmt::Write as _;

use model::{Judged, Tick, Timestamp};
use plotters::prelude::*;
use projections::say;

use super::{
    Axis, LEFT, WIDTH,
    backend::{ClassBackend, Ink, SCALE},
    lanes::{Area, Drawn, Lane, names, scale, tenths},
};

/// Height of the drawing.
pub const HEIGHT: u32 = 226;
/// Powers of ten of the evidence shown.
const POWERS: (f64, f64) = (-2.0, 3.0);
/// Ratios of p99 shown. What is said at a lane's ends are these.
const RATIOS: (f64, f64) = (0.5, 2.0);
/// Differences of failures shown.
const DIFFERENCES: (f64, f64) = (-0.01, 0.03);

const EVIDENCE: Lane = Lane { name: "Evidence", unit: "odds to 1", top: 8, bottom: 76 };
const RATIO: Lane = Lane { name: "p99 ratio", unit: "canary / stable", top: 92, bottom: 146 };
const DIFFERENCE: Lane = Lane { name: "5xx more", unit: "than stable", top: 162, bottom: 216 };

/// One point in time of what the judge said.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidencePoint {
    /// When.
    pub at: Timestamp,
    /// log10 of the joint evidence.
    pub power: f64,
    /// The highest so far.
    pub highest: f64,
    /// Interval of p99's ratio.
    pub ratio: [Option<f64>; 2],
    /// Interval of the difference of failures.
    pub difference: [f64; 2],
    /// Canary requests until then.
    pub exposed: u64,
}

/// What the judge said on the axis, one point for each of its grains: the highest evidence of each.
pub fn evidence_points(ticks: &[Tick], axis: Axis) -> Vec<EvidencePoint> {
    let grain = axis.grain();
    let (mut out, mut highest): (Vec<EvidencePoint>, f64) = (Vec::new(), 0.0);
    for tick in ticks {
        let Some(judged) = tick.judged.as_deref().filter(|j| j.joint.is_finite()) else { continue };
        let Judged { joint, ratio, difference, exposed, .. } = judged;
        let power = joint / std::f64::consts::LN_10;
        highest = highest.max(power);
        let same = |at: Timestamp| at.as_millis() / grain == tick.at.as_millis() / grain;
        let before = out.pop_if(|p| same(p.at)).map_or(f64::NEG_INFINITY, |p| p.power);
        let (ratio, difference, exposed) = (*ratio, *difference, *exposed);
        if axis.shows(tick.at) {
            out.push(EvidencePoint { at: tick.at, power: power.max(before), highest, ratio, difference, exposed });
        }
    }
    out
}

/// What is compared with: the policy's lines.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lines {
    /// Chance that a healthy canary is ever stopped.
    pub alpha: f64,
    /// Tolerance of p99.
    pub tolerance: f64,
    /// Tolerance of the difference of failures.
    pub delta: f64,
}

/// The lanes as an SVG element, before one with their names and values. They have their room before the judge said something.
pub fn evidence_chart(ticks: &[Tick], axis: Axis, lines: Lines) -> String {
    let points = evidence_points(ticks, axis);
    let (mut out, mut values) = (String::new(), String::new());
    let _ = write!(
        out,
        "<svg class=\"tl-chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"Evidence against the canary and what could still be true over time; the table below has the same values\">"
    );
    // Only `plotters` itself could fail, and its backend here cannot: a string always takes more.
    let _ = draw(&mut out, &mut values, &points, axis, lines);
    out.push_str("</svg>");
    out + &names(HEIGHT, &[EVIDENCE, RATIO, DIFFERENCE].map(|lane| (lane.name, lane.unit, lane.middle())), &values)
}

fn draw(out: &mut String, values: &mut String, points: &[EvidencePoint], axis: Axis, lines: Lines) -> Drawn {
    let root = ClassBackend::new(out, WIDTH, HEIGHT).into_drawing_area();
    evidence(&root, values, points, axis, lines)?;
    let ends = [(RATIO.bottom, "0.5"), (RATIO.top, "2"), (DIFFERENCE.bottom, "-1 %"), (DIFFERENCE.top, "3 %")];
    scale(values, &ends.map(|(y, said)| (y * SCALE, said.to_owned())));
    let ratio = points.iter().map(|p| (p.at, p.ratio)).collect::<Vec<_>>();
    let bound = 1.0 + lines.tolerance;
    band(&root, &RATIO, &ratio, axis, RATIOS, (bound, &format!("tolerance {bound:.2}")), &ratio_words)?;
    let difference = points.iter().map(|p| (p.at, p.difference.map(Some))).collect::<Vec<_>>();
    let words = format!("tolerance {}", say::ratio(lines.delta));
    band(&root, &DIFFERENCE, &difference, axis, DIFFERENCES, (lines.delta, &words), &difference_words)?;
    root.present()?;
    Ok(())
}

fn evidence(root: &Area<'_>, values: &mut String, points: &[EvidencePoint], axis: Axis, lines: Lines) -> Drawn {
    EVIDENCE.frame(root)?;
    let limit = -lines.alpha.log10();
    let top = POWERS.1.max(limit * 1.2);
    let y = |v: f64| EVIDENCE.y((POWERS.0, top), v);
    let x = |at: Timestamp| tenths(axis.x(at.min(axis.until)));
    let end = x(axis.until);
    scale(values, &[limit, 0.0, POWERS.0, top].map(|v| (y(v), power(v))));
    for (v, ink) in [(0.0, Ink::Tick), (limit, Ink::Limit)] {
        root.draw(&PathElement::new([(LEFT * SCALE, y(v)), (end, y(v))], ink.style()))?;
    }
    let line = |ink: Ink, value: fn(&EvidencePoint) -> f64| {
        root.draw(&PathElement::new(points.iter().map(|p| (x(p.at), y(value(p)))).collect::<Vec<_>>(), ink.style()))
    };
    line(Ink::Plan, |p| p.highest)?;
    line(Ink::Canary, |p| p.power)?;
    let Some(last) = points.last() else { return EVIDENCE.missing(root, "nothing judged yet") };
    let crossed = last.power >= limit;
    let labels = vec![
        (y(limit), Ink::LimitText, format!("stops at {} to 1", say::count(10_f64.powf(limit).round() as u64))),
        (y(0.0), Ink::LimitText, "no evidence either way".to_owned()),
        (y(last.power), if crossed { Ink::BadText } else { Ink::CanaryText }, odds(last.power)),
    ];
    EVIDENCE.end_labels(root, end, labels)
}

type Ends = (Timestamp, [Option<f64>; 2]);

/// An interval over time; an end that nothing bounds reaches to the lane's edge.
fn band(
    root: &Area<'_>,
    lane: &Lane,
    points: &[Ends],
    axis: Axis,
    range: (f64, f64),
    (bound, bound_words): (f64, &str),
    words: &dyn Fn([Option<f64>; 2]) -> String,
) -> Drawn {
    lane.frame(root)?;
    let y = |v: f64| lane.y(range, v);
    let x = |at: Timestamp| tenths(axis.x(at.min(axis.until)));
    if points.is_empty() {
        return lane.missing(root, "nothing judged yet");
    }
    let upper = points.iter().map(|(at, [_, high])| (x(*at), y(high.unwrap_or(range.1))));
    let lower = points.iter().rev().map(|(at, [low, _])| (x(*at), y(low.unwrap_or(range.0))));
    root.draw(&Polygon::new(upper.chain(lower).collect::<Vec<_>>(), Ink::Band.filled()))?;
    let end = x(axis.until);
    root.draw(&PathElement::new([(LEFT * SCALE, y(bound)), (end, y(bound))], Ink::Limit.style()))?;
    for pick in [0_usize, 1] {
        let edge = points.iter().filter_map(|(at, ends)| Some((x(*at), y((*ends.get(pick)?)?)))).collect::<Vec<_>>();
        if edge.len() > 1 {
            root.draw(&PathElement::new(edge, Ink::Canary.style()))?;
        }
    }
    let Some((_, last)) = points.last() else { return Ok(()) };
    let middle = match last {
        [Some(low), Some(high)] => f64::midpoint(*low, *high),
        [low, high] => low.or(*high).unwrap_or(bound),
    };
    let beyond = last[0].is_some_and(|low| low > bound);
    let ink = if beyond { Ink::BadText } else { Ink::CanaryText };
    lane.end_labels(root, end, vec![(y(bound), Ink::LimitText, bound_words.to_owned()), (y(middle), ink, words(*last))])
}

/// `0.95 to 1.32`, `at most 1.32`.
pub fn ratio_words(ends: [Option<f64>; 2]) -> String {
    match ends {
        [Some(low), Some(high)] => format!("{low:.2} to {high:.2}"),
        [None, Some(high)] => format!("at most {high:.2}"),
        [Some(low), None] => format!("at least {low:.2}"),
        [None, None] => "not known yet".to_owned(),
    }
}

/// `-0.2 to +0.4 %`.
pub fn difference_words(ends: [Option<f64>; 2]) -> String {
    match ends {
        [Some(low), Some(high)] => format!("{:+.1} to {:+.1} %", low * 100.0, high * 100.0),
        _ => "not known yet".to_owned(),
    }
}

/// `100`, `1`, `0.01`, from a power of ten.
fn power(power: f64) -> String {
    let e = 10_f64.powf(power);
    if e < 0.995 { format!("{e:.2}") } else { say::count(e.round() as u64) }
}

/// `3.2 to 1`, from a power of ten.
pub fn odds(power: f64) -> String {
    let e = 10_f64.powf(power);
    match power {
        p if p >= 6.0 => "over a million to 1".to_owned(),
        p if p >= 1.0 => format!("{} to 1", say::count(e.round() as u64)),
        p if p < -1.0 => "under 0.1 to 1".to_owned(),
        _ => format!("{e:.1} to 1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(s: i64, joint: f64, ratio: [Option<f64>; 2]) -> Tick {
        let judged = Judged {
            joint,
            abs: 0.0,
            rel: 0.0,
            p99: joint,
            ratio,
            difference: [-0.002, 0.004],
            certificate: None,
            exposed: 10,
            verdict: "unrefuted".to_owned(),
        };
        Tick {
            judged: Some(Box::new(judged)),
            counted: Vec::new(),
            ..super::super::series::tests::tick(s, 5, Some(80.0), Some((10, 0, Some(80.0))))
        }
    }

    #[test]
    fn the_highest_evidence_of_each_grain_is_kept() {
        let ln = std::f64::consts::LN_10;
        let ticks = [judged(0, 0.0, [None, None]), judged(1, 2.5 * ln, [None, Some(1.5)]), judged(2, ln, [None, None])];
        let start = ticks[0].at;
        let axis = |span| Axis { origin: start, start, span, until: start };
        let fine = evidence_points(&ticks, axis(200_000));
        assert_eq!(fine.len(), 3);
        assert!((fine[2].power - 1.0).abs() < 1e-9 && (fine[2].highest - 2.5).abs() < 1e-9);
        assert_eq!(fine[2].exposed, 10);
        let coarse = evidence_points(&ticks, axis(12_000_000));
        assert!(coarse.iter().any(|p| (p.power - 2.5).abs() < 1e-9), "a crossing is never thinned away");
        let broken = judged(3, f64::NAN, [None, None]);
        assert!(evidence_points(&[broken], axis(200_000)).is_empty());
        let part = Axis { start: start.plus_millis(1_500), ..axis(5_000) };
        let shown = evidence_points(&ticks, part);
        assert_eq!(shown.len(), 1, "what lies outside is not drawn at the edge");
        assert!((shown[0].highest - 2.5).abs() < 1e-9, "but counts");
    }

    #[test]
    fn lanes_stand_where_there_is_nothing_on_their_part() {
        let ticks = [judged(0, 0.0, [None, None])];
        let start = ticks[0].at.plus_millis(10_000);
        let axis = Axis { origin: start, start, span: 5_000, until: start };
        let lines = Lines { alpha: 0.01, tolerance: 0.1, delta: 0.01 };
        let svg = evidence_chart(&ticks, axis, lines);
        assert!(svg.contains(">p99 ratio</text>"));
        let said = |y: i32, said: String| svg.contains(&format!(" y=\"{}\">{said}</text>", y + 4));
        for (lane, (low, high), scale) in [(RATIO, RATIOS, 1.0), (DIFFERENCE, DIFFERENCES, 100.0)] {
            let unit = if scale == 1.0 { "" } else { " %" };
            assert!(
                said(lane.bottom, format!("{}{unit}", low * scale))
                    && said(lane.top, format!("{}{unit}", high * scale))
            );
        }
        let nothing = evidence_chart(&[], axis, lines);
        assert_eq!(nothing.matches(">n/a: nothing judged yet</text>").count(), 3, "{nothing}");
    }

    #[test]
    fn words() {
        for (power, said) in
            [(0.0, "1.0 to 1"), (2.0, "100 to 1"), (9.0, "over a million to 1"), (-3.0, "under 0.1 to 1")]
        {
            assert_eq!(odds(power), said);
        }
        assert_eq!(ratio_words([Some(0.951), Some(1.32)]), "0.95 to 1.32");
        assert_eq!(ratio_words([None, None]), "not known yet");
        assert_eq!(difference_words([Some(-0.002), Some(0.0041)]), "-0.2 to +0.4 %");
    }
}
