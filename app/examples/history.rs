//! Fills a data directory with a made-up, properly signed history, to look at the pages in states that take long to reach:
//!
//! ```text
//! cargo run -p app --features ssr --example history -- DIR [releases]
//! deliveryos serve --data-dir DIR
//! ```
//! Everything in it is invented and says so: its environment is called `sample`.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use controller::SampleStore;
use model::{
    Actor, Digest, Energy, EnergyMethod, Epoch, Kind, ReleaseId, Tick, Timestamp, Verdict, VersionTick, Weight,
    event::{
        AnalysisEnded, CanaryAborted, CanaryCompleted, CanaryPaused, CanaryPromoted, CanaryResumed, CanaryStarted,
        CanaryStepped, CommandSeen, Outcome, PlannedWeight, ReleaseCompleted, RollbackArmed, RollbackExecuted,
        WindowStats,
    },
};
use receipt_log::{Clock, Draft, KeyFile, Log, ReceiptLog, Store, SystemClock};
use receipts::Payload;
use serde::Serialize;
use store_sqlite::SqliteStore;

/// How a sample release goes.
#[derive(Clone, Copy, PartialEq)]
enum Tale {
    Promoted,
    Failed,
    RolledBack,
    At50,
    Undecided,
    Aborting,
}

struct Teller {
    log: ReceiptLog,
    store: SqliteStore,
    release: ReleaseId,
    actor: Actor,
    start: Timestamp,
    weights: Vec<(i64, u8)>,
    n: u32,
    noise: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().context("say a directory")?;
    let more: u32 = args.next().map_or(Ok(8), |n| n.parse())?;
    let dir = Path::new(&dir);
    std::fs::create_dir_all(dir)?;
    let store = SqliteStore::open(dir).await?;
    let signer = KeyFile::load_or_create(&dir.join("log.key"), None)?;
    let shared: Arc<dyn Store> = Arc::new(store.clone());
    let log = ReceiptLog::open(shared, Arc::new(signer), &SystemClock, None).await?;
    let now = SystemClock.now();
    let hours = |h: i64| now.plus_millis(-h * 3_600_000);
    let mut tales = vec![
        ("search", "v5.13.2", "dana", hours(70), Tale::RolledBack),
        ("ledger", "v2026.05.05", "ci", hours(27), Tale::Promoted),
        ("checkout", "v2026.05.06", "lee", hours(22), Tale::Promoted),
        ("mailer", "v88", "dana", now.plus_millis(-540_000), Tale::Failed),
        (
            "a-service-whose-name-has-exactly-eighty-characters-so-that-the-page-has-to-cope-x",
            "v1.2.3-rc.1+build_with_a_very_long_label",
            "a person with a long name",
            hours(5),
            Tale::Promoted,
        ),
        ("search", "v5.14.0", "lee", now.plus_millis(-550_000), Tale::Undecided),
        ("mailer", "v89", "dana", now.plus_millis(-60_000), Tale::Aborting),
        ("checkout", "v2026.05.07", "dana", now.plus_millis(-392_000), Tale::At50),
    ];
    for i in 0..more {
        let tale = if i % 7 == 3 { Tale::Failed } else { Tale::Promoted };
        tales.insert(0, ("billing", "v1", "ci", hours(100 + i64::from(i) * 3), tale));
    }
    for (i, (service, version, actor, start, tale)) in tales.into_iter().enumerate() {
        let service = &service[..service.len().min(74)];
        let release: ReleaseId = format!("{service}-{}", i + 1).parse()?;
        let mut teller = Teller {
            log: log.clone(),
            store: store.clone(),
            release,
            actor: actor.parse()?,
            start,
            weights: vec![],
            n: 0,
            noise: 88_172_645_463_325_252 ^ i as u64,
        };
        teller.tell(service, version, tale, now).await.with_context(|| format!("sample release {}", i + 1))?;
    }
    store.flush_ticks().await?;
    log.drain().await;
    store.close().await?;
    Ok(())
}

impl Teller {
    async fn say(&mut self, kind: Kind, second: i64, actor: Option<&Actor>, facts: &impl Serialize) -> Result<u64> {
        let joules = 0.05 + f64::from(self.n % 5) * 0.03;
        let energy = Energy {
            joules,
            low: joules * 0.6,
            high: joules * 1.5,
            method: EnergyMethod::ModelCpuTime,
            scope: "cpu".into(),
            coefficient: Some("sample".into()),
            cpu_time_us: 4_000,
            wall_us: 21_000,
            idle_joules: None,
        };
        let actor = actor.cloned().unwrap_or_else(Actor::controller);
        let payload = Payload::new(kind, self.start.plus_millis(second * 1000), actor, facts)?
            .release(self.release.clone())
            .cite(["Argo Rollouts 1.10, Rollout v1alpha1", "https://www.rfc-editor.org/rfc/rfc6962"])
            .energy(energy);
        self.n += 1;
        Ok(self.log.append(Draft { key: format!("{}/{}", self.release, self.n), payload }).await?)
    }

    async fn asked(&mut self, s: i64, actor: &Actor, command: &str, reason: &str) -> Result<u64> {
        let facts = CommandSeen {
            command: command.into(),
            command_id: format!("{}-{s}", self.release),
            reason: reason.into(),
            refusal: None,
        };
        self.say(Kind::CommandAccepted, s, Some(actor), &facts).await
    }

    async fn weight(&mut self, s: i64, step: u32, weight: u8) -> Result<()> {
        let from = self.weights.last().map_or(0, |w| w.1);
        self.weights.push((s, weight));
        let facts = CanaryStepped {
            strategy: "canary".into(),
            step,
            steps: 6,
            from_weight: Weight::new(from)?,
            weight: Weight::new(weight)?,
            applied_at: self.start.plus_millis(s * 1000),
            epoch: Epoch(3),
            operation: format!("{}/w{}", self.release, self.n),
        };
        self.say(Kind::CanaryStepped, s, None, &facts).await?;
        Ok(())
    }

    async fn pause(&mut self, s: i64, reason: &str, until: Option<i64>, step: u32) -> Result<()> {
        let weight = Weight::new(self.weights.last().map_or(0, |w| w.1))?;
        let facts = CanaryPaused {
            reason: reason.into(),
            until: until.map(|u| self.start.plus_millis(u * 1000)),
            weight,
            step,
        };
        self.say(Kind::CanaryPaused, s, None, &facts).await?;
        Ok(())
    }

    async fn verdict(&mut self, s: i64, verdict: Verdict, message: &str) -> Result<()> {
        let kind = match verdict {
            Verdict::Successful => Kind::AnalysisPassed,
            Verdict::Failed => Kind::AnalysisFailed,
            Verdict::Inconclusive => Kind::AnalysisInconclusive,
            Verdict::Error => Kind::AnalysisError,
        };
        let stats =
            |p99| WindowStats { n: 11_902, errors: 4, p99_ms: Some(p99), mean_ms: Some(31.0), sigma_ms: Some(12.5) };
        let facts = AnalysisEnded {
            analysis: "built-in".into(),
            scope: "background".into(),
            verdict,
            message: message.into(),
            rule: "threshold".into(),
            measurements: 120,
            segment: None,
            from: Some(self.start.plus_millis((s - 120) * 1000)),
            to: Some(self.start.plus_millis(s * 1000)),
            canary: Some(stats(84.0)),
            stable: Some(stats(87.0)),
        };
        self.say(kind, s, Some(&Actor::judge()), &facts).await?;
        Ok(())
    }

    async fn tell(&mut self, service: &str, version: &str, tale: Tale, now: Timestamp) -> Result<()> {
        let planned = [(0, 5), (120, 25), (300, 50), (480, 100)]
            .map(|(s, w)| PlannedWeight { at_ms: s * 1000, weight: Weight::new(w).unwrap_or_default() });
        let actor = self.actor.clone();
        let digest = |b: u8| Digest::from_sha256(&[b; 32]);
        self.asked(0, &actor, "start", "").await?;
        let facts = CanaryStarted {
            strategy: "canary".into(),
            service: service.parse()?,
            environment: "sample".parse()?,
            version: version.parse()?,
            digest: digest(0x4f),
            stable_version: "v0".parse()?,
            stable_digest: digest(0x91),
            recipe: digest(0x77),
            steps: 6,
            planned: planned.to_vec(),
            planned_ms: Some(720_000),
            stops: Vec::new(),
            runtime: "local".into(),
        };
        self.say(Kind::CanaryStarted, 0, Some(&actor), &facts).await?;
        self.weight(1, 0, 5).await?;
        self.pause(1, "step", Some(121), 1).await?;
        let armed = RollbackArmed {
            previous_image: digest(0x91),
            previous_version: "v0".parse()?,
            down_migration: "0142_down".into(),
            flags_off: vec!["fast-path".into()],
            acts: vec!["traffic".into(), "processes".into(), "migration".into(), "flags".into()],
            rto_s: 90,
        };
        self.say(Kind::RollbackArmed, 2, None, &armed).await?;
        match tale {
            Tale::Failed | Tale::Aborting => {
                let ends = tale == Tale::Failed;
                self.aborted(44, "5xx 0.094 over 5 s, limit 0.01", true, ends).await?;
            }
            _ => {
                self.verdict(115, Verdict::Successful, "p99 84 ms against 87 ms, 5xx 0.0021").await?;
                self.resumed(121, 120_000, "its time was up", "pause-ended").await?;
                self.weight(121, 2, 25).await?;
                self.pause(121, "step", Some(301), 3).await?;
                if tale == Tale::Undecided {
                    self.verdict(290, Verdict::Inconclusive, "p99 131 ms against 122 ms: 312 requests, 500 are needed")
                        .await?;
                    self.pause(300, "inconclusive", None, 3).await?;
                } else {
                    let lee: Actor = "lee".parse()?;
                    self.asked(206, &lee, "pause", "p99 bump, looking").await?;
                    self.pause(206, "person", None, 3).await?;
                    self.asked(246, &lee, "resume", "latency bump was the cache warming").await?;
                    self.resumed(246, 40_000, "latency bump was the cache warming", "released").await?;
                    self.weight(305, 4, 50).await?;
                    self.pause(305, "step", Some(480), 5).await?;
                    if tale != Tale::At50 {
                        self.verdict(470, Verdict::Successful, "p99 84 ms against 87 ms, 5xx 0.0004").await?;
                        self.weight(481, 5, 100).await?;
                        let facts = CanaryPromoted {
                            full: false,
                            version: version.parse()?,
                            digest: digest(0x4f),
                            reason: "every step is done".into(),
                        };
                        self.say(Kind::CanaryPromoted, 720, None, &facts).await?;
                        if tale == Tale::RolledBack {
                            self.aborted(900, "p99 +38 %, found later", false, true).await?;
                        } else {
                            let facts = CanaryCompleted {
                                outcome: Outcome::Promoted,
                                took_ms: 724_000,
                                breach_to_zero_ms: None,
                                breach_to_last_request_ms: None,
                                zero_to_drained_ms: None,
                                rto_ms: None,
                                exposed: 204_117,
                            };
                            self.say(Kind::CanaryCompleted, 724, None, &facts).await?;
                            self.summed(724, Outcome::Promoted).await?;
                        }
                    }
                }
            }
        }
        self.ticks(tale, now).await
    }

    async fn resumed(&mut self, s: i64, paused_ms: i64, reason: &str, turn: &str) -> Result<()> {
        let mut facts = serde_json::to_value(CanaryResumed { reason: reason.into(), paused_ms, step: 1 })?;
        facts["transition"] = serde_json::json!({ "type": turn });
        self.say(Kind::CanaryResumed, s, None, &facts).await?;
        Ok(())
    }

    async fn aborted(&mut self, s: i64, reason: &str, automatic: bool, ends: bool) -> Result<()> {
        let actor = if automatic { Actor::judge() } else { self.actor.clone() };
        let weight = Weight::new(self.weights.last().map_or(0, |w| w.1))?;
        let facts = CanaryAborted {
            reason: reason.into(),
            automatic,
            weight,
            breach_at: self.start.plus_millis(s * 1000 - 80),
            command: None,
        };
        self.say(Kind::CanaryAborted, s, Some(&actor), &facts).await?;
        self.weight(s, 1, 0).await?;
        let traffic = RollbackExecuted {
            act: "traffic".into(),
            order: 1,
            of: 3,
            result: "weight 0 in force".into(),
            took_ms: 12,
        };
        self.say(Kind::RollbackExecuted, s, None, &traffic).await?;
        if ends {
            let outcome = if self.weights.iter().any(|w| w.1 == 100) { Outcome::RolledBack } else { Outcome::Aborted };
            let facts = CanaryCompleted {
                outcome,
                took_ms: (s + 3) * 1000,
                breach_to_zero_ms: Some(92),
                breach_to_last_request_ms: Some(88),
                zero_to_drained_ms: Some(3_120),
                rto_ms: Some(3_212),
                exposed: 61,
            };
            self.say(Kind::CanaryCompleted, s + 3, None, &facts).await?;
            self.summed(s + 3, outcome).await?;
        }
        Ok(())
    }

    async fn summed(&mut self, s: i64, outcome: Outcome) -> Result<()> {
        let facts =
            ReleaseCompleted { outcome, children: u64::from(self.n), ranges: vec![(1, 9)], root: "00".repeat(32) };
        self.say(Kind::ReleaseCompleted, s, None, &facts).await?;
        Ok(())
    }

    async fn ticks(&mut self, tale: Tale, now: Timestamp) -> Result<()> {
        let last = match tale {
            Tale::Failed | Tale::Aborting => 47,
            Tale::RolledBack => 903,
            Tale::Promoted => 724,
            Tale::At50 | Tale::Undecided => now.since(self.start) / 1000,
        };
        let mut ticks = Vec::new();
        for s in 1..=last {
            // A gap, as a restart of the data plane leaves one.
            if (150..165).contains(&s) && tale == Tale::At50 {
                continue;
            }
            let weight = self.weights.iter().rev().find(|w| w.0 <= s).map_or(0, |w| w.1);
            let drift = (s as f64 / 40.0).sin() * 4.0;
            let stable = 84.0 + drift + self.random() * 5.0;
            let canary = if tale == Tale::Undecided {
                stable + 6.0 + self.random() * 14.0
            } else {
                82.0 + drift + self.random() * 14.0
            };
            let n = 400 * u64::from(weight) / 100;
            let failing = matches!(tale, Tale::Failed | Tale::Aborting) && s > 38;
            let errors = if failing { n / 8 + 1 } else { u64::from(self.random() > 0.93 && n > 50) };
            let version = |n, errors, p99| VersionTick {
                n,
                errors,
                p99_ms: Some(p99),
                p50_ms: Some(p99 / 3.0),
                mean_ms: Some(p99 / 2.5),
                sigma_ms: Some(12.0),
                ..VersionTick::default()
            };
            ticks.push(Tick {
                seq: s.unsigned_abs(),
                boot: if s < 150 { "a" } else { "b" }.into(),
                at: self.start.plus_millis(s * 1000),
                weight: Weight::new(weight)?,
                weight_changed: false,
                epoch: Epoch(3),
                stable: version(400 - n, u64::from(self.random() > 0.96), stable),
                canary: (n > 0).then(|| version(n, errors, canary)),
                canary_last_sent: None,
                sticky: false,
                judged: None,
                counted: Vec::new(),
            });
        }
        for part in ticks.chunks(500) {
            self.store.append_ticks(&self.release, part).await?;
            self.store.flush_ticks().await?;
        }
        Ok(())
    }

    /// 0 to 1, the same each time.
    fn random(&mut self) -> f64 {
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        (self.noise >> 11) as f64 / (1u64 << 53) as f64
    }
}
