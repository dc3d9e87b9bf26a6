//! Ranges of time in addresses: `from=30d`, `from=2026-05-01&until=2026-05-07`.

use model::Timestamp;

const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The longest that one may look back by a number: ten years.
const MAX_DAYS: i64 = 3_660;

/// Which end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The first moment inside. A date is its beginning.
    From,
    /// The first moment after. A date is the end of that day: until the 7th includes the 7th.
    Until,
}

/// A moment: `24h` or `30d` before now, a date, or a time of RFC 3339. Empty text is none.
pub fn moment(text: &str, end: End, now: Timestamp) -> Result<Option<Timestamp>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || {
        format!("{text:?} is no time: say 24h, 30d, a date such as 2026-05-07, or a time such as 2026-05-07T14:06:32Z")
    };
    let back = |number: &str, unit: i64| number.parse::<i64>().ok().map(|n| n.checked_mul(unit));
    let relative = text
        .strip_suffix('h')
        .and_then(|n| back(n, HOUR_MS))
        .or_else(|| text.strip_suffix('d').and_then(|n| back(n, DAY_MS)));
    match relative {
        Some(Some(ms)) if (0..=MAX_DAYS * DAY_MS).contains(&ms) => return Ok(Some(now.plus_millis(-ms))),
        Some(_) => return Err(wrong()),
        None => {}
    }
    let time = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let at: Timestamp = time.parse().map_err(|_| wrong())?;
    Ok(Some(if text.len() == 10 && end == End::Until { at.plus_millis(DAY_MS) } else { at }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let now: Timestamp = "2026-05-07T14:06:32Z".parse().unwrap();
        for (text, end, said) in [
            ("", End::From, None),
            ("24h", End::From, Some("2026-05-06T14:06:32Z")),
            ("30d", End::From, Some("2026-04-07T14:06:32Z")),
            ("2026-05-01", End::From, Some("2026-05-01T00:00:00Z")),
            ("2026-05-01", End::Until, Some("2026-05-02T00:00:00Z")),
            ("2026-05-01T10:00:00Z", End::Until, Some("2026-05-01T10:00:00Z")),
        ] {
            assert_eq!(moment(text, end, now), Ok(said.map(|t| t.parse().unwrap())), "{text}");
        }
        for wrong in ["d", "-3d", "99999999d", "9223372036854775807h", "yesterday", "2026-13-01", "2026-05-01T"] {
            assert!(moment(wrong, End::From, now).is_err(), "{wrong}");
        }
    }
}
