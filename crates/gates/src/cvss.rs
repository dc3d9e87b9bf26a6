//! CVSS base scores from their vectors: 3.0 and 3.1 by the specification's section 7.1, 2.0 by the guide's section 3.2.1.

/// The base score of a vector, `None` when it is not one. `version` is 2 or 3.
pub(crate) fn base_score(version: u8, vector: &str) -> Option<f64> {
    match version {
        2 => v2(vector),
        3 => v3(vector),
        _ => None,
    }
}

/// Metric by metric: each at most once, those of the base all there.
struct Metrics<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Metrics<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for part in text.split('/') {
            let (name, value) = part.split_once(':')?;
            if found.iter().any(|(known, _)| *known == name) || found.len() > 40 {
                return None;
            }
            found.push((name, value));
        }
        Some(Self(found))
    }

    fn weigh(&self, name: &str, weights: &[(&str, f64)]) -> Option<f64> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == name)?;
        weights.iter().find(|(word, _)| word == value).map(|(_, weight)| *weight)
    }
}

fn v3(vector: &str) -> Option<f64> {
    let rest = vector.strip_prefix("CVSS:3.1/").or_else(|| vector.strip_prefix("CVSS:3.0/"))?;
    let m = Metrics::parse(rest)?;
    let changed = m.weigh("S", &[("U", 0.0), ("C", 1.0)])? > 0.0;
    let av = m.weigh("AV", &[("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)])?;
    let ac = m.weigh("AC", &[("L", 0.77), ("H", 0.44)])?;
    let pr = m.weigh(
        "PR",
        &[("N", 0.85), ("L", if changed { 0.68 } else { 0.62 }), ("H", if changed { 0.5 } else { 0.27 })],
    )?;
    let ui = m.weigh("UI", &[("N", 0.85), ("R", 0.62)])?;
    let harm = |name| m.weigh(name, &[("H", 0.56), ("L", 0.22), ("N", 0.0)]);
    let iss = 1.0 - (1.0 - harm("C")?) * (1.0 - harm("I")?) * (1.0 - harm("A")?);
    let impact = if changed { 7.52 * (iss - 0.029) - 3.25 * (iss - 0.02).powi(15) } else { 6.42 * iss };
    let exploitability = 8.22 * av * ac * pr * ui;
    if impact <= 0.0 {
        return Some(0.0);
    }
    let sum = if changed { 1.08 * (impact + exploitability) } else { impact + exploitability };
    Some(round_up(sum.min(10.0)))
}

/// The specification's own rounding (appendix A), which does not stumble over binary fractions.
fn round_up(score: f64) -> f64 {
    let whole = (score * 100_000.0).round();
    if whole % 10_000.0 == 0.0 { whole / 100_000.0 } else { ((whole / 10_000.0).floor() + 1.0) / 10.0 }
}

fn v2(vector: &str) -> Option<f64> {
    let m = Metrics::parse(vector.trim_start_matches('(').trim_end_matches(')'))?;
    let av = m.weigh("AV", &[("L", 0.395), ("A", 0.646), ("N", 1.0)])?;
    let ac = m.weigh("AC", &[("H", 0.35), ("M", 0.61), ("L", 0.71)])?;
    let au = m.weigh("Au", &[("M", 0.45), ("S", 0.56), ("N", 0.704)])?;
    let harm = |name| m.weigh(name, &[("N", 0.0), ("P", 0.275), ("C", 0.66)]);
    let impact = 10.41 * (1.0 - (1.0 - harm("C")?) * (1.0 - harm("I")?) * (1.0 - harm("A")?));
    let exploitability = 20.0 * av * ac * au;
    let factor = if impact == 0.0 { 0.0 } else { 1.176 };
    Some(((0.6 * impact + 0.4 * exploitability - 1.5) * factor * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_as_the_national_vulnerability_database_gives_them() {
        for (version, vector, score) in [
            (3, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Some(9.8)),
            (3, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", Some(10.0)),
            (3, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", Some(7.5)),
            (3, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N", Some(5.3)),
            (3, "CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", Some(6.1)),
            (3, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:L/A:H", Some(8.6)),
            (3, "CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", Some(0.0)),
            (3, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H", None),
            (3, "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", None),
            (3, "CVSS:3.1/AV:N/AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", None),
            (3, "AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", None),
            (2, "AV:N/AC:L/Au:N/C:P/I:N/A:N", Some(5.0)),
            (2, "AV:N/AC:L/Au:N/C:C/I:C/A:C", Some(10.0)),
            (2, "AV:N/AC:L/Au:N/C:C/I:C", None),
            (4, "CVSS:4.0/AV:N", None),
        ] {
            assert_eq!(base_score(version, vector), score, "{vector}");
        }
    }
}
