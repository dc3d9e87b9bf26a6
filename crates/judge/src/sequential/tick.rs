//! The table that a verdict is a function of: one line a second.

use serde::{Deserialize, Serialize};

/// Largest count of one tick: a thousand times what the splitter can carry. More is no count.
pub const MAX_COUNT: u64 = 1_000_000_000;

/// One second of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Requests completed.
    pub n: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Of these, slower than the version's limit; `None` when there is no limit: then latency does not vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<u64>,
}

impl Counts {
    /// Differences of cumulative counters; one that went back means that the version restarted, and its new value counts.
    pub fn since(self, before: Self) -> Self {
        let difference = |now: u64, before: u64| if now >= before { now - before } else { now };
        Self {
            n: difference(self.n, before.n),
            errors: difference(self.errors, before.errors),
            slow: self.slow.zip(before.slow).map(|(now, before)| difference(now, before)),
        }
    }

    /// More failures than requests cannot be: they are believed. More slow requests than requests are not.
    pub(crate) fn sane(self) -> Self {
        let n = self.n.max(self.errors).min(MAX_COUNT);
        Self { n, errors: self.errors.min(n), slow: self.slow.map(|s| s.min(n)) }
    }
}

/// One second of both versions, as the evidence sees it.
///
/// Written as `{"t":1,"canary":{"n":5,"errors":0,"slow":1},"stable":{"n":95,"errors":0,"slow":1}}`, and further fields where they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tick {
    /// Its number or second: only a name. The order of the lines is what counts.
    pub t: i64,
    /// The canary.
    pub canary: Counts,
    /// Stable.
    pub stable: Counts,
    /// Planned weight of the canary, %; without it the split is not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
    /// Step of the recipe; without it nothing is certified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    /// True: the weight changed within it, so its rates do not compare and it brings no evidence.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drop: bool,
    /// The canary's requests slower than the limit for certificates; without it nothing is certified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_certify: Option<u64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
fn is_false(b: &bool) -> bool {
    !b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_go_back_start_again() {
        let at = |n, errors, slow| Counts { n, errors, slow };
        assert_eq!(at(10, 2, Some(1)).since(at(7, 1, Some(1))), at(3, 1, Some(0)));
        assert_eq!(at(4, 0, Some(0)).since(at(7, 1, Some(1))), at(4, 0, Some(0)));
        assert_eq!(at(4, 0, None).since(at(1, 0, Some(1))).slow, None);
    }

    #[test]
    fn what_cannot_be_is_mended() {
        let sane = Counts { n: 3, errors: 5, slow: Some(9) }.sane();
        assert_eq!(sane, Counts { n: 5, errors: 5, slow: Some(5) });
        assert_eq!(Counts { n: u64::MAX, errors: u64::MAX, slow: None }.sane().n, MAX_COUNT);
    }

    #[test]
    fn a_line() {
        let line = r#"{"t":1,"canary":{"n":5,"errors":0,"slow":1},"stable":{"n":95,"errors":0,"slow":1}}"#;
        let tick: Tick = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&tick).unwrap(), line);
    }
}
