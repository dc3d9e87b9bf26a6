//! Numbers and times as people read them. The same words on the server, in the browser and in the terminal.

use model::{Energy, EnergyMethod, Timestamp};

use crate::JoulesSum;

/// A length of time: `0 ms`, `84 ms`, `3.2 s`, `47 s`, `1 m 48 s`, `2 h 05 m`, `3 d 4 h`. Negative lengths carry a minus sign.
pub fn duration(ms: i64) -> String {
    if ms < 0 {
        return format!("−{}", duration(ms.saturating_neg()));
    }
    let s = ms / 1000;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{s}.{} s", ms % 1000 / 100),
        10_000..60_000 => format!("{s} s"),
        60_000..3_600_000 => format!("{} m {:02} s", s / 60, s % 60),
        3_600_000..86_400_000 => format!("{} h {:02} m", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

/// A running clock, in whole seconds: `8 s`, `1 m 48 s`. It does not change its unit below a second, so it stands still on the page.
pub fn clock(ms: i64) -> String {
    let s = ms.max(0) / 1000;
    if s < 10 { format!("{s} s") } else { duration(s * 1000) }
}

/// A place on a time axis: `0:00`, `6:32`, `1:02:03`.
pub fn axis(ms: i64) -> String {
    let s = ms.saturating_abs() / 1000;
    let sign = if ms < 0 && s > 0 { "−" } else { "" };
    if s < 3600 {
        format!("{sign}{}:{:02}", s / 60, s % 60)
    } else {
        format!("{sign}{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    }
}

/// How long ago: `just now`, `40 s ago`, `6 min ago`, `3 h ago`, `yesterday 16:20`, `Tue 09:41`, `2026-05-07`. UTC.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    const DAY: i64 = 86_400_000;
    let d = now.since(at);
    let (day, today) = (at.as_millis() / DAY, now.as_millis() / DAY);
    let hm = || at.clock()[..5].to_owned();
    match d {
        ..-5_000 => format!("in {}", clock(-d)),
        -5_000..5_000 => "just now".to_owned(),
        5_000..60_000 => format!("{} s ago", d / 1000),
        60_000..3_600_000 => format!("{} min ago", d / 60_000),
        3_600_000..43_200_000 => format!("{} h ago", d / 3_600_000),
        _ if day == today => hm(),
        _ if day + 1 == today => format!("yesterday {}", hm()),
        _ if today - day < 7 => format!("{} {}", weekday(day), hm()),
        _ => date(at),
    }
}

/// `2026-05-07`, UTC.
pub fn date(at: Timestamp) -> String {
    at.to_string()[..10].to_owned()
}

/// `2026-05-07 14:06:32 UTC`.
pub fn exact(at: Timestamp) -> String {
    format!("{} {} UTC", date(at), at.clock())
}

/// A whole number in groups of three: `18,204`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// Milliseconds of latency: `0.42`, `8.4`, `84`, `1,204`, without the unit.
pub fn latency(ms: f64) -> String {
    match ms {
        _ if !ms.is_finite() => "n/a".to_owned(),
        _ if ms.abs() < 1.0 => format!("{ms:.2}"),
        _ if ms.abs() < 10.0 => format!("{ms:.1}"),
        // A latency is far below what the cast could not hold.
        _ => count(ms.round().max(0.0) as u64),
    }
}

/// A share of requests, always in percent: `0 %`, `0.21 %`, `1 %`, `9.4 %`, `37 %`. A share that is not 0 never reads as none.
pub fn ratio(r: f64) -> String {
    let percent = r * 100.0;
    let digits = match percent.abs() {
        p if !p.is_finite() => return "n/a".to_owned(),
        0.0 => 0,
        p if p < 0.01 => return "under 0.01 %".to_owned(),
        p if p < 1.0 => 2,
        p if p < 10.0 => 1,
        _ => 0,
    };
    let said = format!("{percent:.digits$}");
    let said = if said.contains('.') { said.trim_end_matches('0').trim_end_matches('.') } else { &said };
    format!("{said} %")
}

/// A small multiple: `0`, `0.4`, `14.4`, `120`.
pub fn rate(r: f64) -> String {
    match r {
        _ if !r.is_finite() => "n/a".to_owned(),
        _ if r == 0.0 => "0".to_owned(),
        _ if r.abs() < 100.0 => format!("{r:.1}"),
        _ => count(r.round().max(0.0) as u64),
    }
}

/// Failed of all, as a share; `None` when there were none.
pub fn share(errors: u64, n: u64) -> Option<f64> {
    (n > 0).then(|| errors as f64 / n as f64)
}

/// Joules with the unit that keeps them readable: `0.4 mJ`, `31 mJ`, `3.1 J`, `1.2 kJ`.
pub fn joules(j: f64) -> String {
    let two = |v: f64| if v.abs() < 10.0 { format!("{v:.1}") } else { format!("{v:.0}") };
    match j.abs() {
        a if !a.is_finite() => "n/a".to_owned(),
        0.0 => "0 J".to_owned(),
        a if a < 1e-3 => format!("{} µJ", two(j * 1e6)),
        a if a < 1.0 => format!("{} mJ", two(j * 1e3)),
        a if a < 1e3 => format!("{} J", two(j)),
        _ => format!("{} kJ", two(j / 1e3)),
    }
}

/// A sum of joules: `≈ 3.1 J` when part of it was modelled, `3.1 J` when all was measured, `n/a` when nothing is known.
pub fn joules_sum(sum: &JoulesSum) -> String {
    match sum {
        JoulesSum { n: 0, .. } => "n/a".to_owned(),
        JoulesSum { modelled: true, .. } => format!("≈ {}", joules(sum.joules)),
        _ => joules(sum.joules),
    }
}

/// One operation's joules.
pub fn energy(e: &Energy) -> String {
    if e.method == EnergyMethod::RaplPackage { joules(e.joules) } else { format!("≈ {}", joules(e.joules)) }
}

/// How joules came about, in words.
pub fn energy_method(m: EnergyMethod) -> &'static str {
    match m {
        EnergyMethod::RaplPackage => "measured: powercap counters of the package, shared out by CPU time",
        EnergyMethod::ModelCpuTime => "modelled: CPU time by published coefficients",
        EnergyMethod::Mixed => "a sum of measured and modelled parts",
    }
}

/// What was found, in plain words, out of Argo's sentence about it, which the receipt keeps: `Background analysis phase error/failed:
/// Metric "errors" assessed Failed due to failed (1) > failureLimit (0): result 0.2: successCondition "result <= 0.01" does not hold`
/// becomes `errors is 0.2, and its recipe wants result <= 0.01`. The built-in rule's own sentence stands as it is. So does a
/// message of another form.
pub fn finding(message: &str) -> String {
    const PHASES: [&str; 2] = ["Background analysis phase error/failed: ", "Step-based analysis phase error/failed: "];
    let message = message.trim();
    let said = PHASES.iter().find_map(|phase| message.strip_prefix(phase)).unwrap_or(message);
    if let Some(said) = assessed(said) {
        return said;
    }
    let last = said.strip_prefix("Run Terminated").unwrap_or(said).trim_start_matches("; ");
    match last {
        "" if !said.is_empty() => "nothing was measured".to_owned(),
        last => last.split("; ").map(measured).collect::<Vec<_>>().join("; "),
    }
}

/// Whether a verdict's message says that a canary was let through with much against it (`judge::sequential::DOUBTFUL_ODDS`).
pub fn is_doubtful(message: &str) -> bool {
    message.contains("not decided in ")
}

/// A measurement behind its metric's name: `NAME: result VALUE`, or the built-in rule's own sentence.
fn measured(said: &str) -> String {
    match said.split_once(": ").map(|(name, rest)| (name, rest, rest.strip_prefix("result "))) {
        Some((name, _, Some(value))) => format!("{name} is {value}"),
        Some((_, own, None)) if own.starts_with("no regression found ") || is_doubtful(own) => own.to_owned(),
        _ => said.to_owned(),
    }
}

/// `Metric "NAME" assessed PHASE[ due to COUNTED (N) > LIMIT (M)][: DETAIL]`.
fn assessed(said: &str) -> Option<String> {
    let (name, rest) = said.strip_prefix("Metric \"")?.split_once("\" assessed ")?;
    let (phase, rest) = rest.split_at(rest.find([' ', ':']).unwrap_or(rest.len()));
    let (counts, detail) = match rest.strip_prefix(" due to ") {
        Some(due) => match due.split_once("): ") {
            Some((counts, detail)) => (counts, detail),
            None => (due, ""),
        },
        None => ("", rest.strip_prefix(": ").unwrap_or_default()),
    };
    let numbers: Vec<u64> = counts.split('(').skip(1).filter_map(|part| part.split(')').next()?.parse().ok()).collect();
    let detail = detail.trim_matches(|c: char| c.is_whitespace() || c == '"');
    let detail = match detail.strip_prefix("Error Message: ").unwrap_or(detail) {
        none if none.contains("metric result is nil or empty") => "its source has no data",
        detail => detail,
    };
    let times = |n: u64| plural(n, "time", "times");
    Some(match (phase, numbers.as_slice(), detail) {
        ("Error", [n, ..], "") => format!("{name} could not be measured {} in a row", times(*n)),
        ("Error", [n, ..], why) => format!("{name} could not be measured {} in a row: {why}", times(*n)),
        ("Inconclusive", [n, limit], "") => {
            format!("{name} was inconclusive {}, {} allowed", times(*n), are(*limit))
        }
        (_, [n, limit], "") => format!("{name} failed {}, {} allowed", times(*n), are(*limit)),
        (_, _, "") => format!("{name} was assessed {phase}"),
        (_, [], detail) if detail.starts_with("count (") => format!("{name}: {detail}"),
        (_, numbers, detail) => {
            let repeated = match numbers {
                [n, limit] if *n > 1 => format!(" ({}, {} allowed)", times(*n), are(*limit)),
                _ => String::new(),
            };
            format!("{}{repeated}", judged(name, detail).unwrap_or_else(|| detail.to_owned()))
        }
    })
}

/// `result VALUE: successCondition "CONDITION" does not hold`, and its like.
fn judged(name: &str, detail: &str) -> Option<String> {
    let rest = detail.strip_prefix("result ")?;
    if let Some((value, condition)) = rest.split_once(": successCondition \"") {
        let condition = condition.strip_suffix("\" does not hold")?;
        return Some(format!("{name} is {value}, and its recipe wants {condition}"));
    }
    if let Some((value, condition)) = rest.split_once(": failureCondition \"") {
        let condition = condition.strip_suffix("\" holds")?;
        return Some(format!("{name} is {value}, and its recipe fails it when {condition}"));
    }
    let value = rest.strip_suffix(": neither successCondition nor failureCondition holds")?;
    Some(format!("{name} is {value}, by its recipe neither a success nor a failure"))
}

fn are(limit: u64) -> String {
    if limit == 1 { "1 is".to_owned() } else { format!("{} are", count(limit)) }
}

/// A hash or digest for a narrow place: the first and last four characters.
pub fn short(hex: &str) -> String {
    let n = hex.chars().count();
    if n <= 12 {
        return hex.to_owned();
    }
    let head: String = hex.chars().take(4).collect();
    let tail: String = hex.chars().skip(n - 4).collect();
    format!("{head}…{tail}")
}

/// `1 receipt`, `23 receipts`.
pub fn plural(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

fn weekday(day: i64) -> &'static str {
    // 1970-01-01 was a Thursday.
    match day.rem_euclid(7) {
        0 => "Thu",
        1 => "Fri",
        2 => "Sat",
        3 => "Sun",
        4 => "Mon",
        5 => "Tue",
        _ => "Wed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (ms, said) in [
            (0, "0 ms"),
            (84, "84 ms"),
            (999, "999 ms"),
            (1_000, "1.0 s"),
            (3_249, "3.2 s"),
            (47_000, "47 s"),
            (108_000, "1 m 48 s"),
            (724_000, "12 m 04 s"),
            (7_500_000, "2 h 05 m"),
            (273_600_000, "3 d 4 h"),
            (-12, "−12 ms"),
            (i64::MIN, "−106751991167 d 7 h"),
        ] {
            assert_eq!(duration(ms), said, "{ms}");
        }
        for (ms, said) in
            [(-3, "0 s"), (0, "0 s"), (900, "0 s"), (8_900, "8 s"), (12_345, "12 s"), (88_000, "1 m 28 s")]
        {
            assert_eq!(clock(ms), said, "{ms}");
        }
        for (ms, said) in [(0, "0:00"), (392_000, "6:32"), (3_723_000, "1:02:03"), (-2_000, "−0:02"), (-400, "0:00")]
        {
            assert_eq!(axis(ms), said, "{ms}");
        }
    }

    #[test]
    fn times() {
        let now: Timestamp = "2026-05-07T14:06:32Z".parse().unwrap(); // a Thursday
        for (at, said) in [
            ("2026-05-07T14:06:30Z", "just now"),
            ("2026-05-07T14:05:52Z", "40 s ago"),
            ("2026-05-07T14:00:00Z", "6 min ago"),
            ("2026-05-07T11:00:00Z", "3 h ago"),
            ("2026-05-07T01:30:00Z", "01:30"),
            ("2026-05-06T16:20:00Z", "yesterday 16:20"),
            ("2026-05-06T01:00:00Z", "yesterday 01:00"),
            ("2026-05-05T09:41:00Z", "Tue 09:41"),
            ("2026-04-05T09:41:00Z", "2026-04-05"),
            ("2026-05-07T14:08:00Z", "in 1 m 28 s"),
        ] {
            assert_eq!(ago(at.parse().unwrap(), now), said, "{at}");
        }
        assert_eq!(exact(now), "2026-05-07 14:06:32 UTC");
    }

    #[test]
    fn findings() {
        for (message, said) in [
            (
                "Background analysis phase error/failed: Metric \"builtin\" assessed Failed due to failed (1) > failureLimit (0): canary 5xx ratio 0.2131 is above 0.01",
                "canary 5xx ratio 0.2131 is above 0.01",
            ),
            (
                "Background analysis phase error/failed: Metric \"builtin\" assessed Failed: canary p99 31 ms is above 12 ms",
                "canary p99 31 ms is above 12 ms",
            ),
            (
                "Step-based analysis phase error/failed: Metric \"m\" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): \"Error Message: connection refused\"",
                "m could not be measured 5 times in a row: connection refused",
            ),
            (
                "Metric \"errors\" assessed Failed due to failed (1) > failureLimit (0): result [0.2]: successCondition \"result[0] <= 0.01\" does not hold",
                "errors is [0.2], and its recipe wants result[0] <= 0.01",
            ),
            (
                "Metric \"errors\" assessed Failed due to failed (3) > failureLimit (2): result 0.2: failureCondition \"result > 0.1\" holds",
                "errors is 0.2, and its recipe fails it when result > 0.1 (3 times, 2 are allowed)",
            ),
            (
                "Metric \"m\" assessed Inconclusive due to inconclusive (2) > inconclusiveLimit (1): result 0.05: neither successCondition nor failureCondition holds",
                "m is 0.05, by its recipe neither a success nor a failure (2 times, 1 is allowed)",
            ),
            ("Metric \"m\" assessed Failed due to failed (1) > failureLimit (0)", "m failed 1 time, 0 are allowed"),
            (
                "Metric \"m\" assessed Inconclusive: count (3) reached with 1 of 2 consecutive successes",
                "m: count (3) reached with 1 of 2 consecutive successes",
            ),
            ("Metric \"m\" assessed Inconclusive", "m was assessed Inconclusive"),
            (
                "Metric \"m\" assessed Error due to consecutiveErrors (5) > consecutiveErrorLimit (4): \"Error Message: could not evaluate successCondition \"result[0] <= 0.01\": metric result is nil or empty: no data returned from the metric provider\"",
                "m could not be measured 5 times in a row: its source has no data",
            ),
            ("Run Terminated", "nothing was measured"),
            (
                "Run Terminated; builtin: no regression found in 9 canary requests: evidence against it 0.2 to 1; p99 is not compared yet",
                "no regression found in 9 canary requests: evidence against it 0.2 to 1; p99 is not compared yet",
            ),
            ("Run Terminated; errors: result 0.01; slow: result [84]", "errors is 0.01; slow is [84]"),
            ("errors: result 0.01", "errors is 0.01"),
            ("failureLimit (0): ", "failureLimit (0):"),
            ("5xx 9.4 %, limit 1 %", "5xx 9.4 %, limit 1 %"),
            ("no progress for 10 m", "no progress for 10 m"),
            ("", ""),
        ] {
            assert_eq!(finding(message), said);
        }
    }

    #[test]
    fn numbers() {
        for (n, said) in [(0, "0"), (999, "999"), (1_000, "1,000"), (18_204, "18,204"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), said);
        }
        for (v, said) in [(0.421, "0.42"), (8.44, "8.4"), (84.4, "84"), (1204.0, "1,204"), (f64::NAN, "n/a")] {
            assert_eq!(latency(v), said);
        }
        for (v, said) in [
            (0.0, "0 %"),
            (0.000_01, "under 0.01 %"),
            (0.0004, "0.04 %"),
            (0.0021, "0.21 %"),
            (0.01, "1 %"),
            (0.094, "9.4 %"),
            (0.5, "50 %"),
            (1.0, "100 %"),
            (f64::INFINITY, "n/a"),
        ] {
            assert_eq!(ratio(v), said);
        }
        for (v, said) in
            [(0.0, "0 J"), (0.0004, "400 µJ"), (0.0316, "32 mJ"), (3.16, "3.2 J"), (31.4, "31 J"), (1234.0, "1.2 kJ")]
        {
            assert_eq!(joules(v), said);
        }
        for (v, said) in [(0.0, "0"), (0.41, "0.4"), (14.4, "14.4"), (120.0, "120"), (f64::NAN, "n/a")] {
            assert_eq!(rate(v), said);
        }
        assert_eq!(short("4f2c00000000be19"), "4f2c…be19");
        assert_eq!(short("4f2c"), "4f2c");
        assert_eq!(share(0, 0), None);
    }
}
