//! Where the judge of a service gets its counts, when it is not the data plane.

use controller::{CounterQueries, CounterSource};
use serde::Deserialize;

/// Longest time between two scrapes, s: five minutes are Prometheus' own limit for taking an old value for the present one.
const MAX_EVERY: u32 = 300;
/// Longest query.
const MAX_QUERY: usize = 4_096;

/// `[services.NAME.judge]`: the sequential judge is fed from a Prometheus' cumulative counters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeConfig {
    /// Name of one of `[metrics]`.
    pub source: String,
    /// Latency buckets by `le`, summed over a version's processes; `{version}` stands for the version's label.
    pub buckets: String,
    /// Failed requests, summed too.
    pub errors: String,
    /// Prometheus' scrape interval, s: between two scrapes a counter stands still.
    #[serde(default = "fifteen")]
    pub scrape_seconds: u32,
}

fn fifteen() -> u32 {
    15
}

impl JudgeConfig {
    /// As the controller asks for it.
    pub fn source(&self) -> CounterSource {
        CounterSource {
            address: self.source.clone(),
            queries: CounterQueries { buckets: self.buckets.clone(), errors: self.errors.clone() },
            every_s: self.scrape_seconds,
        }
    }

    /// Checks what a parser cannot. `knows` says which metric sources there are.
    pub(super) fn check(&self, knows: impl Fn(&str) -> bool) -> Result<(), String> {
        if !knows(&self.source) {
            return Err(format!(".source: there is no [metrics.{}]", self.source));
        }
        for (field, query) in [("buckets", &self.buckets), ("errors", &self.errors)] {
            if query.len() > MAX_QUERY {
                return Err(format!(".{field}: at most {MAX_QUERY} bytes"));
            }
        }
        if !self.source().queries.name_the_version() {
            return Err(
                ": buckets and errors need {version}: without it both versions would be counted together".to_owned()
            );
        }
        if !(1..=MAX_EVERY).contains(&self.scrape_seconds) {
            return Err(format!(".scrape_seconds: 1 to {MAX_EVERY}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const WHOLE: &str = r#"
        [metrics.prometheus]
        url = "http://127.0.0.1:9090"
        [services.checkout]
        listen = ["127.0.0.1:8080"]
        stable = "v1"
        [services.checkout.judge]
        source = "prometheus"
        buckets = 'sum by (le) (http_request_duration_seconds_bucket{version="{version}"})'
        errors = 'sum(http_requests_total{version="{version}",code=~"5.."})'
        [services.checkout.versions.v1]
        command = ["./checkout"]
    "#;

    #[test]
    fn a_version_s_queries() {
        let config = Config::parse(WHOLE).unwrap();
        let judge = config.services.values().next().unwrap().judge.clone().unwrap();
        assert_eq!(judge.scrape_seconds, 15);
        let queries = judge.source().queries.of(&"v2".parse().unwrap());
        assert_eq!(queries.errors, r#"sum(http_requests_total{version="v2",code=~"5.."})"#);
    }

    #[test]
    fn mistakes_are_named() {
        let check = |from: &str, to: &str, expected: &str| {
            assert!(WHOLE.contains(from), "{from}");
            let said = crate::exit::chain(&Config::parse(&WHOLE.replacen(from, to, 1)).unwrap_err());
            assert!(said.contains(expected), "{from:?} -> {to:?}: {said}");
        };
        check(
            "source = \"prometheus\"",
            "source = \"other\"",
            "services.checkout.judge.source: there is no [metrics.other]",
        );
        check(
            "version=\"{version}\"})'",
            "version=\"v2\"})'",
            "services.checkout.judge: buckets and errors need {version}",
        );
        check("errors =", "scrape_seconds = 0\n        errors =", "scrape_seconds: 1 to 300");
        check("errors =", "scrape_second = 5\n        errors =", "unknown field");
    }
}
