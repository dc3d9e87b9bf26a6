//! Made-up releases for the gallery, told by receipts as the log would hold them. Nothing here was measured, and the page says so.

use model::{
    Actor, Digest, Epoch, Judged, Kind, Tick, Timestamp, Verdict, VersionTick, Weight,
    event::{
        AnalysisEnded, CanaryAborted, CanaryCompleted, CanaryPaused, CanaryPromoted, CanaryResumed, CanaryStarted,
        CanaryStepped, CommandSeen, Outcome, PlannedWeight, RollbackArmed, RollbackExecuted, WindowStats,
    },
};
use projections::{Receipt, ReleaseView};
use receipts::Payload;
use serde::Serialize;

/// How a sample goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tale {
    Starting,
    Climbing,
    Slow,
    Held,
    Undecided,
    Aborting,
    Aborted,
    Promoted,
    RolledBack,
    LongNames,
}

/// A sample: what its page shows, and the moment it is looked at.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) view: ReleaseView,
    pub(super) ticks: Vec<Tick>,
    pub(super) now: Timestamp,
}

/// Every state of a release.
pub(super) fn all() -> Vec<Sample> {
    [
        ("starting", Tale::Starting),
        ("climbing", Tale::Climbing),
        ("canary slower than its limit", Tale::Slow),
        ("held by a person", Tale::Held),
        ("undecided: a person decides", Tale::Undecided),
        ("aborting", Tale::Aborting),
        ("aborted by the judge", Tale::Aborted),
        ("promoted", Tale::Promoted),
        ("rolled back", Tale::RolledBack),
        ("names of 80 characters", Tale::LongNames),
    ]
    .into_iter()
    .filter_map(|(name, tale)| sample(name, tale))
    .collect()
}

/// Second 0 of every sample: the gallery looks the same each time.
const START: i64 = 1_778_162_792_000;
const LONG: &str = "a-name-of-eighty-characters-that-every-place-on-the-pages-has-to-cope-with-somehow";

struct Teller {
    start: Timestamp,
    receipts: Vec<Receipt>,
    release: &'static str,
    weight: u8,
}

fn sample(name: &'static str, tale: Tale) -> Option<Sample> {
    let start = Timestamp::from_millis(START);
    let long = tale == Tale::LongNames;
    let mut t = Teller { start, receipts: Vec::new(), release: "sample-1", weight: 0 };
    let (service, version, actor) = if long {
        (LONG.get(..80)?, "v1.2.3-rc.1+build.with.a.very.long.label.that.does.not.end", LONG)
    } else {
        ("checkout", "v8", "dana")
    };
    t.begin(service, version, actor)?;
    let seconds = match tale {
        Tale::Starting => 1,
        _ => t.go_on(tale)?,
    };
    let until = start.plus_millis(seconds * 1000);
    let view = ReleaseView::of(t.receipts)?;
    let ticks = ticks(&view, tale, start, seconds);
    Some(Sample { name, view, ticks, now: until })
}

impl Teller {
    fn say(&mut self, kind: Kind, s: i64, actor: &str, facts: &impl Serialize) -> Option<()> {
        let payload = Payload::new(kind, self.start.plus_millis(s * 1000), actor.parse().ok()?, facts).ok()?;
        let index = 18_100 + self.receipts.len() as u64;
        let payload = payload.release(self.release.parse().ok()?);
        self.receipts.push(Receipt { index, payload });
        Some(())
    }

    fn asked(&mut self, s: i64, actor: &str, command: &str, reason: &str) -> Option<()> {
        let (command, command_id) = (command.to_owned(), format!("sample-{s}"));
        self.say(
            Kind::CommandAccepted,
            s,
            actor,
            &CommandSeen { command, command_id, reason: reason.to_owned(), refusal: None },
        )
    }

    fn step(&mut self, s: i64, step: u32, weight: u8) -> Option<()> {
        let (from, to) = (Weight::new(self.weight).ok()?, Weight::new(weight).ok()?);
        self.weight = weight;
        let facts = CanaryStepped {
            strategy: "canary".into(),
            step,
            steps: 6,
            from_weight: from,
            weight: to,
            applied_at: self.start.plus_millis(s * 1000),
            epoch: Epoch(1),
            operation: format!("sample/{s}"),
        };
        self.say(Kind::CanaryStepped, s, "controller", &facts)
    }

    fn pause(&mut self, s: i64, actor: &str, reason: &str, until: Option<i64>) -> Option<()> {
        let facts = CanaryPaused {
            reason: reason.into(),
            until: until.map(|u| self.start.plus_millis(u * 1000)),
            weight: Weight::new(self.weight).ok()?,
            step: 3,
        };
        self.say(Kind::CanaryPaused, s, actor, &facts)
    }

    fn verdict(&mut self, s: i64, verdict: Verdict, message: &str, p99: (f64, f64)) -> Option<()> {
        let kind = match verdict {
            Verdict::Successful => Kind::AnalysisPassed,
            Verdict::Failed => Kind::AnalysisFailed,
            Verdict::Inconclusive => Kind::AnalysisInconclusive,
            Verdict::Error => Kind::AnalysisError,
        };
        let stats = |n, p99| WindowStats { n, errors: 2, p99_ms: Some(p99), mean_ms: Some(31.0), sigma_ms: Some(12.5) };
        let facts = AnalysisEnded {
            analysis: "built-in".into(),
            scope: "background".into(),
            verdict,
            message: message.into(),
            rule: "threshold".into(),
            measurements: 60,
            segment: None,
            from: Some(self.start.plus_millis((s - 60) * 1000)),
            to: Some(self.start.plus_millis(s * 1000)),
            canary: Some(stats(1_488, p99.0)),
            stable: Some(stats(4_505, p99.1)),
        };
        self.say(kind, s, "judge", &facts)
    }

    fn begin(&mut self, service: &str, version: &str, actor: &str) -> Option<()> {
        let digest = |b: u8| Digest::from_sha256(&[b; 32]);
        let planned = [(0, 5), (120, 25), (300, 50), (480, 100)];
        let planned = planned
            .into_iter()
            .filter_map(|(s, w)| Some(PlannedWeight { at_ms: s * 1000, weight: Weight::new(w).ok()? }));
        self.asked(0, actor, "start", "")?;
        let facts = CanaryStarted {
            strategy: "canary".into(),
            service: service.parse().ok()?,
            environment: "sample".parse().ok()?,
            version: version.parse().ok()?,
            digest: digest(0x4f),
            stable_version: "v7".parse().ok()?,
            stable_digest: digest(0x91),
            recipe: digest(0x77),
            steps: 6,
            planned: planned.collect(),
            planned_ms: Some(720_000),
            stops: Vec::new(),
            runtime: "local".into(),
        };
        self.say(Kind::CanaryStarted, 0, actor, &facts)
    }

    fn go_on(&mut self, tale: Tale) -> Option<i64> {
        self.step(2, 0, 5)?;
        self.pause(2, "controller", "step", Some(122))?;
        let begun = serde_json::json!({
            "policy": judge::Rule::default(),
            "beginning": { "choice": { "mode": "requests" } },
        });
        self.say(Kind::AnalysisStarted, 2, "judge", &begun)?;
        let armed = RollbackArmed {
            previous_image: Digest::from_sha256(&[0x91; 32]),
            previous_version: "v7".parse().ok()?,
            down_migration: "0142_down".into(),
            flags_off: vec!["fast-path".into()],
            acts: vec!["traffic".into(), "processes".into(), "migration".into(), "flags".into()],
            rto_s: 90,
        };
        self.say(Kind::RollbackArmed, 3, "controller", &armed)?;
        if matches!(tale, Tale::Aborted | Tale::Aborting) {
            let found = "canary 5xx ratio 0.0940 is above 0.01";
            self.verdict(44, Verdict::Failed, found, (84.0, 86.0))?;
            self.abort(44, found, true, (tale == Tale::Aborted).then_some(Outcome::Aborted))?;
            return Some(if tale == Tale::Aborted { 48 } else { 46 });
        }
        self.verdict(118, Verdict::Successful, "canary p99 84 ms is within 95 ms", (84.0, 86.0))?;
        self.step(122, 2, 25)?;
        self.pause(122, "controller", "step", Some(302))?;
        match tale {
            Tale::Held => {
                self.asked(206, "lee", "pause", "p99 bump, looking")?;
                self.pause(206, "lee", "person", None)?;
                return Some(246);
            }
            Tale::Undecided => {
                self.verdict(
                    290,
                    Verdict::Inconclusive,
                    "p99 131 ms against 122 ms: 312 requests, 500 are needed",
                    (131.0, 122.0),
                )?;
                self.pause(290, "controller", "inconclusive", None)?;
                return Some(330);
            }
            Tale::Slow => return Some(250),
            _ => {}
        }
        self.asked(206, "lee", "pause", "p99 bump, looking")?;
        self.pause(206, "lee", "person", None)?;
        self.asked(246, "lee", "resume", "the cache was warming")?;
        let resumed = CanaryResumed { reason: "the cache was warming".into(), paused_ms: 40_000, step: 3 };
        self.say(Kind::CanaryResumed, 246, "lee", &resumed)?;
        self.step(302, 4, 50)?;
        self.pause(302, "controller", "step", Some(482))?;
        if matches!(tale, Tale::Climbing | Tale::LongNames) {
            return Some(392);
        }
        self.verdict(478, Verdict::Successful, "canary p99 85 ms is within 96 ms", (85.0, 87.0))?;
        self.step(482, 5, 100)?;
        let version = self.version()?;
        let facts = CanaryPromoted {
            full: false,
            version,
            digest: Digest::from_sha256(&[0x4f; 32]),
            reason: "every step is done".into(),
        };
        self.say(Kind::CanaryPromoted, 720, "controller", &facts)?;
        if tale == Tale::RolledBack {
            self.asked(800, "dana", "rollback", "support reports failed payments")?;
            self.abort(800, "support reports failed payments", false, Some(Outcome::RolledBack))?;
            return Some(804);
        }
        self.completed(724, Outcome::Promoted)?;
        Some(724)
    }

    fn version(&self) -> Option<model::Version> {
        "v8".parse().ok()
    }

    fn abort(&mut self, s: i64, reason: &str, automatic: bool, outcome: Option<Outcome>) -> Option<()> {
        let facts = CanaryAborted {
            reason: reason.into(),
            automatic,
            weight: Weight::new(self.weight).ok()?,
            breach_at: self.start.plus_millis(s * 1000 - 80),
            command: None,
        };
        self.say(Kind::CanaryAborted, s, if automatic { "judge" } else { "dana" }, &facts)?;
        self.step(s, 1, 0)?;
        let act = RollbackExecuted {
            act: "traffic".into(),
            order: 1,
            of: 2,
            result: "weight 0 in force".into(),
            took_ms: 12,
        };
        self.say(Kind::RollbackExecuted, s, "controller", &act)?;
        match outcome {
            Some(outcome) => self.completed(s + 3, outcome),
            None => Some(()),
        }
    }

    fn completed(&mut self, s: i64, outcome: Outcome) -> Option<()> {
        let stopped = outcome != Outcome::Promoted;
        let facts = CanaryCompleted {
            outcome,
            took_ms: s * 1000,
            breach_to_zero_ms: stopped.then_some(92),
            breach_to_last_request_ms: stopped.then_some(88),
            zero_to_drained_ms: stopped.then_some(3_120),
            rto_ms: stopped.then_some(3_212),
            exposed: 11_902,
        };
        self.say(Kind::CanaryCompleted, s, "controller", &facts)
    }
}

/// Seconds that fit the tale: waves, not chance, so that the gallery looks the same each time.
fn ticks(view: &ReleaseView, tale: Tale, start: Timestamp, seconds: i64) -> Vec<Tick> {
    let of = |s: i64| {
        let at = start.plus_millis(s * 1000);
        let weight = view.weights.iter().rev().find(|(from, _)| *from <= at).map(|(_, w)| *w).unwrap_or_default();
        let wave = |period: f64, height: f64| (s as f64 / period).sin() * height;
        let stable = 86.0 + wave(40.0, 4.0) + wave(7.0, 2.0);
        let slow = if tale == Tale::Slow && s > 160 { (s - 160) as f64 * 0.35 } else { 0.0 };
        let canary = 84.0 + wave(33.0, 4.0) + wave(5.0, 4.0) + slow;
        let n = 400 * u64::from(weight.percent()) / 100;
        let failing = matches!(tale, Tale::Aborted | Tale::Aborting) && s > 38;
        let errors = if failing { n / 8 + 1 } else { u64::from(s % 97 == 0) };
        let version = |n, errors, p99| VersionTick { n, errors, p99_ms: Some(p99), ..VersionTick::default() };
        Tick {
            seq: s.unsigned_abs(),
            boot: "sample".into(),
            at,
            weight,
            weight_changed: false,
            epoch: Epoch(1),
            stable: version(400 - n.min(400), 0, stable),
            canary: (n > 0).then(|| version(n, errors.min(n), canary)),
            canary_last_sent: None,
            sticky: false,
            judged: (n > 0).then(|| Box::new(judged(s, failing, slow))),
            counted: Vec::new(),
        }
    };
    (1..=seconds).map(of).collect()
}

/// What the judge said after a second: little either way, more with each second of a canary that fails or gets slower.
fn judged(s: i64, failing: bool, slow: f64) -> Judged {
    let wave = (s as f64 / 11.0).sin() * 0.6;
    let joint = if failing { (s - 38) as f64 * 0.9 } else { wave - 0.8 + slow * 0.1 };
    let width = 0.4 + 20.0 / (s as f64 + 10.0);
    Judged {
        joint,
        abs: joint - 1.4,
        rel: joint - 1.4,
        p99: joint - 0.7,
        ratio: [
            (s > 20).then_some(1.0 - width * 0.4 + slow * 0.01),
            (s > 40).then_some(1.0 + width * 0.5 + slow * 0.01),
        ],
        difference: [-0.002, if failing { 0.03 } else { 0.006 }],
        certificate: None,
        exposed: s.unsigned_abs() * 25,
        verdict: if joint > 4.6 { "regressed" } else { "unrefuted" }.to_owned(),
    }
}

/// Somebody who may do everything.
pub(super) fn actor() -> Option<Actor> {
    "dana".parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::{self, Axis, Zoom};

    #[test]
    fn every_sample_can_be_told_and_says_what_it_is() {
        let all = all();
        assert_eq!(all.len(), 10);
        let said: Vec<String> = all.iter().map(|s| crate::words::headline(&s.view).plain()).collect();
        for (sample, headline) in [
            (0, "v8 is starting, no traffic on it yet"),
            (1, "v8 is at 50 %, no regression found so far"),
            (3, "v8 is held at 25 % by lee"),
            (5, "v8 is at 0 %, aborted, the canary is being drained"),
            (6, "v8 was aborted after 47 s"),
            (7, "v8 is stable after 12 m 04 s, promoted by its recipe"),
            (8, "v8 was rolled back to v7, by dana"),
        ] {
            assert_eq!(said.get(sample).map(String::as_str), Some(headline));
        }
    }

    fn at(s: i64) -> Timestamp {
        Timestamp::from_millis(START + s * 1000)
    }

    #[test]
    fn looking_back_says_what_was_said_then() {
        let now = sample("promoted", Tale::Promoted).unwrap();
        for (s, headline) in [
            (-5, "v8 is starting, no traffic on it yet"),
            (0, "v8 is starting, no traffic on it yet"),
            (60, "v8 is at 5 %, no regression found so far"),
            (220, "v8 is held at 25 % by lee"),
            (400, "v8 is at 50 %, no regression found so far"),
            (724, "v8 is stable after 12 m 04 s, promoted by its recipe"),
        ] {
            assert_eq!(crate::words::headline(&now.view.rewound(at(s))).plain(), headline, "{s}");
        }
        assert_eq!(now.view.rewound(at(724)), now.view);
    }

    #[test]
    fn the_cursor_reads_all_lanes() {
        let sample = sample("climbing", Tale::Climbing).unwrap();
        let axis = Axis::of(&sample.view, sample.now);
        let points = timeline::points(&sample.ticks, Some(0.1), axis.grain());
        let read = |s: i64, receipt| timeline::reading(&sample.view, &points, axis, at(s), receipt);
        let then = read(220, None);
        assert_eq!((then.since.as_str(), then.weight.as_str()), ("3:40", "25 %"));
        assert!(then.canary_p99.parse::<f64>().is_ok() && then.stable_p99.parse::<f64>().is_ok() && !then.slow);
        assert_eq!(then.receipt.map(|(_, said)| said).as_deref(), Some("Held at 25 %"));
        assert_eq!(read(220, Some(18_101)).receipt.map(|(i, _)| i), Some(18_101));
        // Where nothing was counted nothing is said.
        assert_eq!((read(700, None).canary_p99, read(0, None).errors), ("n/a".to_owned(), "n/a".to_owned()));
    }

    #[test]
    fn no_line_leaves_the_drawing_however_it_is_looked_at() {
        for sample in all() {
            let whole = Axis::of(&sample.view, sample.now);
            let part = |from, to| Zoom { from, to }.within(whole);
            for zoom in [None, part(0, 7_000), part(100_000, 130_000), part(200_000, 330_000), part(700_000, 720_000)] {
                let axis = whole.zoomed(zoom);
                let points = timeline::points(&sample.ticks, Some(0.1), axis.grain());
                let svg = timeline::chart(&sample.view, &points, axis);
                let lines: Vec<&str> = svg.split(" d=\"M").skip(1).filter_map(|s| s.split(['"', 'z']).next()).collect();
                assert!(lines.len() > 3, "{} {zoom:?}: {svg}", sample.name);
                for line in lines {
                    let (left, right) = (i64::from(timeline::LEFT) * 10, i64::from(timeline::RIGHT) * 10);
                    let mut x = 0;
                    for (i, number) in line.split([' ', 'l']).filter(|n| !n.is_empty()).enumerate() {
                        let tenths = (number.parse::<f64>().unwrap() * 10.0).round() as i64;
                        // Every other one is for the height.
                        x += if i % 2 == 0 { tenths } else { 0 };
                        assert!((left..=right).contains(&x), "{} {zoom:?}: {x} tenths of {line}", sample.name);
                    }
                }
            }
        }
    }
}
