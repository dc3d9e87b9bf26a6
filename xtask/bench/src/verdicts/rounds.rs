//! Releases of all services at once: rounds of healthy ones, and one of faulty ones.

use super::{Bench, Fault, Traffic, clock};
use crate::recovery::{site, spread::Spread};
use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The default recipe, as a user gets it.
const RECIPE: &str = include_str!("../../../../examples/rollout-default.yaml");
/// Longest time of a release, s.
const AT_MOST_S: f64 = 24.0;
/// Divides the recipe's twelve minutes: 22.5 s, and what is left is for starting and for the judge's last word.
const SPEED: f64 = 32.0;
/// Stable's past before the first release, from which the limits come.
const PAST: Duration = Duration::from_secs(5);
/// Between looks at a release.
const LOOK: Duration = Duration::from_millis(100);
/// The kinds of faulty canaries.
const KINDS: [(&str, Fault); 4] = [
    ("only 5xx", Fault::Errors(1_000)),
    ("10 % 5xx", Fault::Errors(100)),
    ("p99 +100 %", Fault::Slow(100)),
    ("closes half of its connections", Fault::Closes),
];

/// How a release ended.
struct Ended {
    promoted: bool,
    seconds: f64,
    /// What was found, in the words of the page.
    worst: String,
    release: String,
}

impl Bench {
    /// `count` healthy releases, as many at once as there are services.
    pub(super) async fn healthy(&mut self, count: usize, rate: u32) -> Result<Value> {
        let traffic = Traffic::start(&self.services, rate)?;
        tokio::time::sleep(PAST).await;
        let recipe = by_requests(30);
        let (mut seconds, mut stopped, mut round) = (Vec::new(), Vec::new(), 0);
        while seconds.len() + stopped.len() < count {
            let at_once = self.services.len().min(count - seconds.len() - stopped.len());
            round += 1;
            let ended = self.round(at_once, &format!("healthy-{round}"), &recipe).await?;
            for (service, ended) in self.services.iter_mut().zip(ended) {
                if ended.promoted {
                    service.stable = 1 - service.stable;
                    seconds.push(ended.seconds);
                } else {
                    eprintln!("{}: {}", ended.release, ended.worst);
                    stopped.push(json!({ "release": ended.release, "why": ended.worst }));
                }
            }
            eprintln!("round {round}: {} promoted, {} not", seconds.len(), stopped.len());
        }
        let totals = traffic.totals();
        drop(traffic);
        let spread = Spread::of(seconds.clone());
        let met = stopped.is_empty() && spread.max <= AT_MOST_S;
        println!(
            "\nhealthy canaries, {} at once at {rate} requests/s each: {} of {count} reached 100 %, in {:.1} s (median) to {:.1} s (at most {AT_MOST_S}){}",
            self.services.len(),
            seconds.len(),
            spread.p50,
            spread.max,
            if met { ", met" } else { ": MISSED" }
        );
        println!(
            "load: {} sent, {} failed, {} lost, {} sent again, {} not sent, p99 {:.1} ms",
            totals.sent, totals.failed, totals.lost, totals.repeated, totals.skipped, totals.p99_ms
        );
        Ok(json!({
            "asked": count, "promoted": seconds.len(), "seconds": spread.json(), "not_promoted": stopped, "load": totals, "rate": rate,
            "target": { "what": "every healthy canary at 100 %, each in at most so many seconds", "value": spread.max, "target": AT_MOST_S, "met": met },
        }))
    }

    /// One round of faulty releases, of all kinds.
    pub(super) async fn faulty(&mut self, count: usize, rate: u32) -> Result<Value> {
        let at_once = count.min(self.services.len());
        let traffic = Traffic::start(&self.services, rate)?;
        tokio::time::sleep(PAST).await;
        let kinds = || KINDS.iter().cycle();
        for (service, (_, fault)) in self.services.iter().zip(kinds()).take(at_once) {
            service.other().1.behave(*fault);
        }
        let ended = self.round(at_once, "faulty", &by_requests(0)).await?;
        let mut rows = Vec::new();
        println!("\nfaulty canaries, {at_once} at once at {rate} requests/s each");
        for (name, fault) in KINDS {
            let of_kind: Vec<_> = self
                .services
                .iter()
                .zip(kinds())
                .zip(&ended)
                .filter(|((_, (_, other)), _)| *other == fault)
                .map(|((service, _), ended)| (service, ended))
                .collect();
            let stopped = of_kind.iter().filter(|(_, e)| !e.promoted).count();
            let harm: Vec<f64> = of_kind
                .iter()
                .filter(|(_, e)| !e.promoted)
                .filter_map(|(service, _)| {
                    let version = service.other().1;
                    let took = version.last_arrival().saturating_sub(version.first_harm()?);
                    Some(took as f64 / 1e6)
                })
                .collect();
            let spread = Spread::of(harm);
            println!(
                "{name:<32} {stopped} of {} stopped; {:.1} s (median) to {:.1} s from the first harmed response to the last request",
                of_kind.len(),
                spread.p50,
                spread.max
            );
            let words: Vec<&str> = of_kind.iter().map(|(_, e)| e.worst.as_str()).collect();
            rows.push(json!({
                "kind": name, "releases": of_kind.len(), "stopped": stopped, "seconds_from_harm": spread.json(), "why": words,
            }));
        }
        for service in &self.services {
            service.other().1.behave(Fault::None);
        }
        drop(traffic);
        let stopped = ended.iter().filter(|e| !e.promoted).count();
        let met = stopped == ended.len();
        println!("{stopped} of {} faulty canaries stopped{}", ended.len(), if met { ", met" } else { ": MISSED" });
        for (service, _) in self.services.iter_mut().zip(&ended).filter(|(_, e)| e.promoted) {
            service.stable = 1 - service.stable;
        }
        Ok(json!({
            "kinds": rows, "stopped": stopped, "releases": ended.len(), "rate": rate,
            "target": { "what": "faulty canaries stopped", "value": stopped, "target": ended.len(), "met": met },
        }))
    }

    /// Releases the other version of the first `at_once` services, and waits for the ends.
    async fn round(&self, at_once: usize, name: &str, recipe: &str) -> Result<Vec<Ended>> {
        let average = clock::load_average();
        eprintln!("{name}: {at_once} releases, load average {average}");
        try_join_all(self.services.iter().take(at_once).map(|service| async move {
            let id = format!("bench-{name}-{}", service.name);
            let (version, _) = service.other();
            let release = self.site.release_of(&service.name, version, &id, recipe, SPEED).await?;
            let since = Instant::now();
            loop {
                let (_, view) = self.site.ask(Method::GET, &format!("/api/v1/releases/{release}"), None).await?;
                let row = &view["row"];
                let promoted = row["promoted"] == json!(true);
                let undecided = row["pause"]["reason"] == json!("InconclusiveAnalysisRun");
                if promoted || undecided || !view["completed"].is_null() {
                    let seconds = since.elapsed().as_secs_f64();
                    let mut worst = row["worst"].as_str().unwrap_or_default().to_owned();
                    if undecided {
                        worst = format!("inconclusive: {worst}");
                    }
                    return Ok(Ended { promoted, seconds, worst, release });
                }
                if since.elapsed() > site::LIMIT {
                    bail!("{release} does not end: {row}");
                }
                tokio::time::sleep(LOOK).await;
            }
        }))
        .await
        .context("a round")
    }
}

/// The default recipe with requests as the unit of evidence: the rollouts follow each other too fast for stable's past to choose it.
fn by_requests(warm_up_s: u32) -> String {
    let rule = "          rule: sequential\n";
    RECIPE.replace(rule, &format!("{rule}          mode: requests\n          warmUpSeconds: {warm_up_s}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_says_the_unit() {
        assert!(by_requests(0).contains("mode: requests\n          warmUpSeconds: 0\n"));
    }
}
