//! How soon a faulty canary has no traffic: one release at a time, held at 5 %.

use super::{Bench, Fault, Traffic, clock};
use crate::recovery::{site, spread::Spread};
use anyhow::{Context, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between looks at the splitter.
const LOOK: Duration = Duration::from_millis(5);
/// What was routed before weight 0 has been sent on by then.
const SETTLE: Duration = Duration::from_millis(100);
/// Stable's past before a release, from which the limits come.
const PAST: Duration = Duration::from_secs(5);

struct Case {
    name: &'static str,
    rate: u32,
    mode: &'static str,
    fault: Fault,
    at_most_s: f64,
}

const CASES: [Case; 6] = [
    Case {
        name: "only 5xx, 200/s, requests",
        rate: 200,
        mode: "requests",
        fault: Fault::Errors(1_000),
        at_most_s: 2.0,
    },
    Case { name: "only 5xx, 200/s, blocks", rate: 200, mode: "blocks", fault: Fault::Errors(1_000), at_most_s: 2.0 },
    Case {
        name: "10 % 5xx, 2,000/s, requests",
        rate: 2_000,
        mode: "requests",
        fault: Fault::Errors(100),
        at_most_s: 3.0,
    },
    Case { name: "10 % 5xx, 2,000/s, blocks", rate: 2_000, mode: "blocks", fault: Fault::Errors(100), at_most_s: 15.0 },
    Case {
        name: "p99 +50 %, 2,000/s, requests",
        rate: 2_000,
        mode: "requests",
        fault: Fault::Slow(50),
        at_most_s: 10.0,
    },
    Case { name: "p99 +50 %, 2,000/s, blocks", rate: 2_000, mode: "blocks", fault: Fault::Slow(50), at_most_s: 30.0 },
];

/// One run.
struct Found {
    seconds: f64,
    exposed: u64,
    reason: String,
    /// Requests a second that were really answered.
    rate: f64,
}

impl Bench {
    /// All cases, `runs` times each.
    pub(super) async fn timed(&mut self, runs: u16) -> Result<Value> {
        println!("\n{:<34} {}", "s from first harm to last request", Spread::HEAD);
        let mut reports = Vec::new();
        for case in &CASES {
            let mut found = Vec::new();
            for run in 0..runs {
                let one = self.found(case, run).await.context(case.name)?;
                eprintln!(
                    "{}: {:.2} s, {} requests exposed, {:.0}/s: {}",
                    case.name, one.seconds, one.exposed, one.rate, one.reason
                );
                found.push(one);
            }
            let spread = Spread::of(found.iter().map(|f| f.seconds).collect());
            let slowest = found.iter().map(|f| f.rate).fold(f64::INFINITY, f64::min);
            let carried = slowest >= super::CARRIED * f64::from(case.rate);
            let met = spread.max <= case.at_most_s;
            println!(
                "{:<34} {spread}  (at most {:.0}{}){}",
                case.name,
                case.at_most_s,
                if met { ", met" } else { ": MISSED" },
                if carried { String::new() } else { format!("; only {slowest:.0} requests/s were carried") }
            );
            let column = |of: &dyn Fn(&super::timed::Found) -> Value| found.iter().map(of).collect::<Vec<_>>();
            reports.push(json!({
                "case": case.name, "rate_asked": case.rate, "mode": case.mode, "seconds": spread.json(), "carried": carried,
                "exposed": column(&|f| json!(f.exposed)), "rates": column(&|f| json!(f.rate)), "reasons": column(&|f| json!(f.reason)),
                "target": { "value": spread.max, "target": case.at_most_s, "met": met },
            }));
        }
        Ok(Value::Array(reports))
    }

    async fn found(&mut self, case: &Case, run: u16) -> Result<Found> {
        let Some(service) = self.services.first() else { bail!("no service") };
        let (label, canary) = service.other();
        canary.behave(case.fault);
        let traffic = Traffic::start([service], case.rate)?;
        // Starts fall anywhere between two ticks.
        tokio::time::sleep(PAST + Duration::from_millis(clock::scatter(u64::from(run)) % 1_000)).await;
        let (before, began) = (traffic.totals(), Instant::now());
        let exposed = canary.requests();
        let id = format!("bench-timed-{}-{}-{run}", case.rate, clock::scatter(case.name.len() as u64 ^ u64::from(run)));
        let release = self.site.release_of(&service.name, label, &id, &held(case.mode), 1.0).await?;
        while canary.first_harm().is_none() {
            if began.elapsed() > site::LIMIT {
                bail!("the canary has harmed nobody");
            }
            tokio::time::sleep(LOOK).await;
        }
        let mut missed = false;
        while site::status_of(&mut self.splitter, &service.name).await?.weight > 0 {
            if !missed && began.elapsed() > site::LIMIT {
                // It counts as never found; the next run needs the service.
                missed = true;
                let body = json!({ "id": format!("{id}-abort"), "command": "abort", "reason": "not found in time" });
                self.site.ask(Method::POST, &format!("/api/v1/releases/{release}/commands"), Some(&body)).await?;
            }
            if began.elapsed() > site::LIMIT * 2 {
                bail!("the canary still has traffic after {} s", began.elapsed().as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(SETTLE).await;
        let (after, seconds) = (traffic.totals(), began.elapsed().as_secs_f64());
        let receipts = self.site.receipts(&release).await?;
        let reason = receipts
            .iter()
            .find(|receipt| receipt["payload"]["kind"] == json!("delivery.canary.aborted"))
            .and_then(|receipt| receipt["payload"]["reason"].as_str())
            .context("no receipt says why it was aborted")?
            .to_owned();
        let first = canary.first_harm().context("it harmed nobody")?;
        let found = Found {
            seconds: if missed { f64::INFINITY } else { canary.last_arrival().saturating_sub(first) as f64 / 1e6 },
            exposed: canary.requests() - exposed,
            reason,
            rate: ((after.ok + after.failed) - (before.ok + before.failed)) as f64 / seconds,
        };
        canary.behave(Fault::None);
        Ok(found)
    }
}

/// 5 % for an hour, judged.
fn held(mode: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: measured\nspec:\n  selector:\n    matchLabels:\n      app: service\n  \
         template:\n    metadata:\n      labels:\n        app: service\n    spec:\n      containers:\n      - name: service\n        image: service\n  \
         strategy:\n    canary:\n      trafficRouting:\n        plugins:\n          deliveryos/splitter: {{}}\n      \
         abortScaleDownDelaySeconds: 1\n      analysis:\n        templates:\n        - templateName: measured\n      steps:\n      - setWeight: 5\n      - pause: {{duration: 1h}}\n\
         ---\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata:\n  name: measured\nspec:\n  metrics:\n  - name: builtin\n    interval: 1s\n    \
         provider:\n      plugin:\n        deliveryos/builtin:\n          rule: sequential\n          mode: {mode}\n          warmUpSeconds: 0\n"
    )
}
