//! Durations as Go writes them.

/// Longest duration, ms: 10 years. More is a slip of the pen and would overflow sums of times.
const MAX_MS: f64 = 10.0 * 366.0 * 86_400_000.0;

/// Go's `time.ParseDuration`, in ms (shorter ones round to the nearest): `300ms`, `1.5h`, `2h45m`, `-5s`.
pub(crate) fn go_ms(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (if text.starts_with('-') { -1.0 } else { 1.0 }, rest),
        None => (1.0, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let number: f64 = number.parse().map_err(|_| invalid())?;
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        total += number
            * match unit {
                "ns" => 1e-6,
                "us" | "µs" | "μs" => 1e-3,
                "ms" => 1.0,
                "s" => 1_000.0,
                "m" => 60_000.0,
                "h" => 3_600_000.0,
                "" => return Err(format!("time: missing unit in duration {text:?}")),
                _ => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
            };
        rest = after;
    }
    if total > MAX_MS {
        return Err(format!("duration {text:?} is longer than ten years"));
    }
    Ok((sign * total).round() as i64)
}

/// The duration of a pause as Argo reads it: a number of seconds, such a number as text, or a Go duration. ms.
pub(crate) fn pause_ms(text: &str) -> Result<i64, String> {
    match text.parse::<i32>() {
        Ok(seconds) => Ok(i64::from(seconds) * 1_000),
        Err(_) => go_ms(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("10s", Some(10_000)),
            ("1h", Some(3_600_000)),
            ("2h45m", Some(9_900_000)),
            ("1.5h", Some(5_400_000)),
            ("300ms", Some(300)),
            ("-5s", Some(-5_000)),
            ("0", Some(0)),
            ("500us", Some(1)),
            ("", None),
            ("10", None),
            ("ten", None),
            ("5 s", None),
            ("5d", None),
            ("s", None),
            (".s", None),
            ("1e9h", None),
            ("99999999999h", None),
        ] {
            assert_eq!(go_ms(text).ok(), ms, "{text}");
        }
        for (text, ms) in
            [("10", Some(10_000)), ("5m", Some(300_000)), ("-1", Some(-1_000)), ("3000000000", None), ("abc", None)]
        {
            assert_eq!(pause_ms(text).ok(), ms, "{text}");
        }
    }
}
