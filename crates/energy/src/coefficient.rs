//! Published power of a hardware thread, by processor.
//!
//! The numbers are those of Cloud Carbon Footprint ("min" and "max" watts of a vCPU, from SPECpower results by
//! processor generation). Marginal power is `max - min`: what a thread draws more when busy than when idle; the idle
//! part is reported apart.
//!
//! Cloud Carbon Footprint gives points without intervals. The bounds come from a second publication, Eco-CI's curve of
//! an EPYC 7763 (a 4-thread share: 1.76 W idle, 3.44 W at 5 %, 3.62 W at 10 %, 5.16 W at 50 %, 8.18 W at 100 %), held
//! against the straight line of the first: its slope between 5 and 50 % is 0.6 of that line's, its mean slope from idle
//! to 10 % is 3.0 times it. So the true cost of a CPU second depends on how busy the machine is otherwise, which an
//! operation cannot know, and the bounds say so.

/// Where the numbers come from, at which state: the repository cloud-carbon-footprint, commit b7a049c of 2024-03-25.
pub const VERSION: &str = "b7a049c";

/// Lowest marginal power over the point: the flat middle of a processor's curve.
const LOW: f64 = 0.6;
/// Highest marginal power over the point: waking a nearly idle processor.
const HIGH: f64 = 3.0;

/// Marginal power of one busy hardware thread, and idle power of one, in watts: joules per CPU second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficient {
    /// Name of the processor's row, e.g. `amd-epyc-3`; `unknown` for the span over all rows.
    pub id: &'static str,
    /// Lower bound.
    pub low: f64,
    /// Point.
    pub point: f64,
    /// Upper bound.
    pub high: f64,
    /// Idle power of one hardware thread.
    pub idle: f64,
}

/// One row of the publication: id, minimum and maximum watts of a vCPU.
struct Row(&'static str, f64, f64);

const CASCADE_LAKE: Row = Row("intel-cascade-lake", 0.64, 3.97);
const SKYLAKE: Row = Row("intel-skylake", 0.65, 4.26);
const BROADWELL: Row = Row("intel-broadwell", 0.71, 3.69);
const HASWELL: Row = Row("intel-haswell", 1.0, 4.74);
const COFFEE_LAKE: Row = Row("intel-coffee-lake", 1.14, 5.42);
const SANDY_BRIDGE: Row = Row("intel-sandy-bridge", 2.17, 8.58);
const IVY_BRIDGE: Row = Row("intel-ivy-bridge", 3.04, 8.25);
const EPYC_1: Row = Row("amd-epyc-1", 0.82, 2.55);
const EPYC_2: Row = Row("amd-epyc-2", 0.47, 1.69);
const EPYC_3: Row = Row("amd-epyc-3", 0.45, 2.02);

const ROWS: [Row; 10] =
    [CASCADE_LAKE, SKYLAKE, BROADWELL, HASWELL, COFFEE_LAKE, SANDY_BRIDGE, IVY_BRIDGE, EPYC_1, EPYC_2, EPYC_3];

/// The average over a cloud's processors, for one whose name says nothing.
const AVERAGE: Row = Row("unknown", 0.74, 3.5);

impl Coefficient {
    /// The coefficient of a processor by its model name, as `/proc/cpuinfo` writes it. A name that is masked or of a
    /// processor not in the publication (newer ones are not) gives [`Coefficient::unknown`].
    pub fn of_model_name(name: &str) -> Self {
        row_of(name).map_or_else(Self::unknown, Row::coefficient)
    }

    /// The average as point, the lowest of all low and the highest of all high bounds.
    pub fn unknown() -> Self {
        ROWS.iter().map(Row::coefficient).fold(AVERAGE.coefficient(), |span, row| Self {
            low: span.low.min(row.low),
            high: span.high.max(row.high),
            ..span
        })
    }

    /// Id and version as receipts carry them: `ccf/amd-epyc-3@b7a049c`.
    pub fn label(&self) -> String {
        format!("ccf/{}@{VERSION}", self.id)
    }
}

impl Row {
    fn coefficient(&self) -> Coefficient {
        let &Self(id, min, max) = self;
        let point = max - min;
        Coefficient { id, low: LOW * point, point, high: HIGH * point, idle: min }
    }
}

fn row_of(name: &str) -> Option<&'static Row> {
    // Names of generations, as hypervisors write them: "Intel Xeon Processor (Skylake, IBRS)", "AMD EPYC-Rome Processor".
    const WORDS: [(&str, &Row); 9] = [
        ("Cascadelake", &CASCADE_LAKE),
        ("Skylake", &SKYLAKE),
        ("Broadwell", &BROADWELL),
        ("Haswell", &HASWELL),
        ("Sandy Bridge", &SANDY_BRIDGE),
        ("Ivy Bridge", &IVY_BRIDGE),
        ("EPYC-Rome", &EPYC_2),
        ("EPYC-Milan", &EPYC_3),
        ("EPYC-Naples", &EPYC_1),
    ];
    if let Some((_, row)) = WORDS.iter().find(|(word, _)| name.contains(word)) {
        return Some(row);
    }
    let mut tokens = name.split([' ', '(', ')']).filter(|token| !token.is_empty());
    if name.contains("EPYC") {
        return tokens.find_map(epyc);
    }
    if !name.contains("Xeon") {
        return None;
    }
    if let Some(version) = name.contains(" E5-").then(|| tokens.clone().find(|token| is_version(token))) {
        return match version {
            Some("v4") => Some(&BROADWELL),
            Some("v3") => Some(&HASWELL),
            Some("v2") => Some(&IVY_BRIDGE),
            Some(_) => None,
            None => Some(&SANDY_BRIDGE),
        };
    }
    tokens.find(|token| ["Platinum", "Gold", "Silver", "Bronze"].contains(token))?;
    // Scalable processors: the second of four digits is the generation.
    match tokens.next()?.as_bytes() {
        [b'3'..=b'9', b'1', b'0'..=b'9', b'0'..=b'9', ..] => Some(&SKYLAKE),
        [b'3'..=b'9', b'2', b'0'..=b'9', b'0'..=b'9', ..] => Some(&CASCADE_LAKE),
        _ => None,
    }
}

/// `7763`, `7R13`, `7B12`, `7773X`: the fourth character is the generation.
fn epyc(token: &str) -> Option<&'static Row> {
    match token.as_bytes() {
        [b'7', second, third, generation, ..] if second.is_ascii_alphanumeric() && third.is_ascii_alphanumeric() => {
            match generation {
                b'1' => Some(&EPYC_1),
                b'2' => Some(&EPYC_2),
                b'3' => Some(&EPYC_3),
                _ => None,
            }
        }
        _ => None,
    }
}

fn is_version(token: &str) -> bool {
    matches!(token.as_bytes(), [b'v', b'0'..=b'9'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names() {
        let check = |name: &str, id: &str| assert_eq!(Coefficient::of_model_name(name).id, id, "{name}");
        check("AMD EPYC 7763 64-Core Processor", "amd-epyc-3");
        check("AMD EPYC 7R13 Processor", "amd-epyc-3");
        check("AMD EPYC 7B12", "amd-epyc-2");
        check("AMD EPYC 7R32", "amd-epyc-2");
        check("AMD EPYC 7571", "amd-epyc-1");
        check("AMD EPYC 7551P 32-Core Processor", "amd-epyc-1");
        check("AMD EPYC-Rome Processor", "amd-epyc-2");
        check("Intel(R) Xeon(R) Platinum 8175M CPU @ 2.50GHz", "intel-skylake");
        check("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", "intel-cascade-lake");
        check("Intel(R) Xeon(R) Gold 6246 CPU @ 3.30GHz", "intel-cascade-lake");
        check("Intel(R) Xeon(R) CPU E5-2686 v4 @ 2.30GHz", "intel-broadwell");
        check("Intel(R) Xeon(R) CPU E5-2666 v3 @ 2.90GHz", "intel-haswell");
        check("Intel(R) Xeon(R) CPU E5-2670 v2 @ 2.50GHz", "intel-ivy-bridge");
        check("Intel(R) Xeon(R) CPU E5-2670 0 @ 2.60GHz", "intel-sandy-bridge");
        check("Intel Xeon Processor (Skylake, IBRS)", "intel-skylake");
        check("Intel Xeon E312xx (Sandy Bridge)", "intel-sandy-bridge");
    }

    #[test]
    fn names_that_say_nothing() {
        for name in [
            "",
            "AMD EPYC",
            "AMD EPYC Processor",
            "AMD EPYC 9654 96-Core Processor",
            "AMD EPYC 7",
            "Intel(R) Xeon(R) Processor",
            "Intel(R) Xeon(R) Processor @ 2.80GHz",
            "Intel(R) Xeon(R) CPU @ 2.20GHz",
            "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz",
            "Intel(R) Xeon(R) Platinum",
            "Intel(R) Xeon(R) CPU E5-2600 v9",
            "Apple M1",
            "Neoverse-N1",
        ] {
            assert_eq!(Coefficient::of_model_name(name), Coefficient::unknown(), "{name}");
        }
    }

    #[test]
    fn published_points() {
        // Worked out by hand from the publication's watts.
        let check = |row: &Row, point: f64| assert!((row.coefficient().point - point).abs() < 1e-9, "{}", row.0);
        check(&EPYC_3, 1.57);
        check(&EPYC_2, 1.22);
        check(&CASCADE_LAKE, 3.33);
        check(&AVERAGE, 2.76);
        assert_eq!(EPYC_3.coefficient().label(), "ccf/amd-epyc-3@b7a049c");
    }

    #[test]
    fn the_unknown_spans_all() {
        let unknown = Coefficient::unknown();
        assert!((unknown.point - 2.76).abs() < 1e-9);
        for row in ROWS.iter().map(Row::coefficient) {
            assert!(row.low < row.point && row.point < row.high, "{row:?}");
            assert!(unknown.low <= row.low && row.high <= unknown.high, "{row:?}");
        }
    }
}
