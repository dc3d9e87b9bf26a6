//! What pages read: lists, views, proofs, samples; and that projections can be made again from the log.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]

use std::sync::Arc;

use controller::{Measurement, SampleStore};
use model::{
    Actor, Epoch, HistogramBucket, Kind, ReleaseId, Tick, Timestamp, Verdict, VersionTick, Weight,
    event::{CanaryCompleted, CanaryPaused, CanaryStarted, CanaryStepped, Outcome, PlannedWeight},
};
use projections::{Phase, Place, ReadModel as _, ReceiptFilter, ReleaseFilter, ReleaseSort, SortBy};
use receipt_log::{Draft, Log as _, ReceiptLog, conformance};
use receipts::{Check, Payload, ReceiptParts, Seen, verify_receipt};
use serde::Serialize;
use serde_json::json;
use sqlx::{ConnectOptions as _, Row as _};
use store_sqlite::{DATABASE_FILE, SqliteStore};
use tempfile::TempDir;

const T0: i64 = 1_778_162_792_045;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(T0 + ms)
}

struct House {
    directory: TempDir,
    store: SqliteStore,
    log: ReceiptLog,
}

async fn house() -> House {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).await.unwrap();
    let log = conformance::open(Arc::new(store.clone())).await.unwrap();
    House { directory, store, log }
}

impl House {
    async fn put(&self, release: &str, ms: i64, kind: Kind, facts: impl Serialize) -> u64 {
        let actor: Actor = if ms % 2 == 0 { "dana".parse().unwrap() } else { Actor::controller() };
        let payload = Payload::new(kind, at(ms), actor, &facts).unwrap().release(release.parse().unwrap());
        self.log.append(Draft { key: format!("{release}/{ms}/{kind}"), payload }).await.unwrap()
    }

    async fn start(&self, service: &str, n: u64, ms: i64) -> String {
        let id = format!("{service}-{n}");
        let digest = model::Digest::from_sha256(&[n as u8; 32]);
        self.put(
            &id,
            ms - 1,
            Kind::CommandAccepted,
            json!({"command": "start", "command_id": format!("start-{id}"), "reason": ""}),
        )
        .await;
        let started = CanaryStarted {
            strategy: "canary".to_owned(),
            service: service.parse().unwrap(),
            environment: "production".parse().unwrap(),
            version: format!("v{n}").parse().unwrap(),
            digest: digest.clone(),
            stable_version: "v0".parse().unwrap(),
            stable_digest: digest.clone(),
            recipe: digest,
            steps: 4,
            planned: vec![PlannedWeight { at_ms: 0, weight: Weight::new(5).unwrap() }],
            planned_ms: Some(1000),
            stops: Vec::new(),
            runtime: "local".to_owned(),
        };
        self.put(&id, ms, Kind::CanaryStarted, started).await;
        id
    }

    async fn step(&self, id: &str, ms: i64, step: u32, weight: u8) {
        let stepped = CanaryStepped {
            strategy: "canary".to_owned(),
            step,
            steps: 4,
            from_weight: Weight::ZERO,
            weight: Weight::new(weight).unwrap(),
            applied_at: at(ms),
            epoch: Epoch(1),
            operation: format!("{id}/{step}"),
        };
        self.put(id, ms, Kind::CanaryStepped, stepped).await;
    }

    async fn end(&self, id: &str, ms: i64, outcome: Outcome) {
        let completed = CanaryCompleted {
            outcome,
            took_ms: 1,
            breach_to_zero_ms: None,
            breach_to_last_request_ms: None,
            zero_to_drained_ms: None,
            rto_ms: None,
            exposed: 9,
        };
        self.put(id, ms, Kind::CanaryCompleted, completed).await;
    }

    /// Everything that was folded, as text.
    async fn projections(&self) -> String {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.directory.path().join(DATABASE_FILE));
        let mut connection = options.read_only(true).connect().await.unwrap();
        let mut text = String::new();
        for sql in [
            "SELECT json_array(idx, kind, actor, time, release) FROM p_receipt ORDER BY idx",
            "SELECT json_array(seq, id, service, environment, actor, digest, state, started, took, exposed, joules, row) FROM p_release ORDER BY id",
            "SELECT json_array(rowid, words) FROM p_release_text ORDER BY rowid",
            "SELECT json_array(idx, release, service, environment, version, ended, outcome, restore_ms) FROM p_rollout ORDER BY idx",
            "SELECT json_array(next, fold) FROM p_cursor",
        ] {
            for row in sqlx::query(sql).fetch_all(&mut connection).await.unwrap() {
                text.push_str(&row.get::<String, _>(0));
                text.push('\n');
            }
        }
        text
    }

    /// Changes a row behind the store's back.
    async fn tamper(&self, sql: &'static str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.directory.path().join(DATABASE_FILE));
        let mut connection = options.connect().await.unwrap();
        assert_eq!(sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected(), 1, "{sql}");
    }
}

async fn filled() -> House {
    let house = house().await;
    for n in 1..=3 {
        let id = house.start("checkout", n, n as i64 * 10_000).await;
        house.step(&id, n as i64 * 10_000 + 1000, 0, 5).await;
        house.end(&id, n as i64 * 10_000 + 2000, if n == 2 { Outcome::Aborted } else { Outcome::Promoted }).await;
    }
    let waiting = house.start("cart", 1, 50_000).await;
    house.step(&waiting, 51_000, 1, 25).await;
    let paused = CanaryPaused { reason: "step".to_owned(), until: None, weight: Weight::new(25).unwrap(), step: 2 };
    house.put(&waiting, 52_000, Kind::CanaryPaused, paused).await;
    house.start("search", 1, 60_000).await;
    house
}

#[tokio::test]
async fn lists_and_views() {
    let house = filled().await;
    let overview = house.store.overview().await.unwrap();
    let ids = |rows: &[projections::ReleaseRow]| rows.iter().map(|row| row.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&overview.in_flight), ["search-1", "cart-1"]);
    assert_eq!(ids(&overview.waiting), ["cart-1"]);
    assert_eq!(ids(&overview.recent), ["checkout-3", "checkout-2", "checkout-1"]);
    assert_eq!(overview.as_of, Some(*house.log.size().borrow() - 1));

    let releases = async |filter: ReleaseFilter| ids(&house.store.releases(filter).await.unwrap());
    let all = ReleaseFilter { limit: 100, ..Default::default() };
    assert_eq!(releases(all.clone()).await, ["search-1", "cart-1", "checkout-3", "checkout-2", "checkout-1"]);
    assert_eq!(releases(ReleaseFilter { limit: 2, ..all.clone() }).await, ["search-1", "cart-1"]);
    assert_eq!(releases(ReleaseFilter { state: Some("aborted".to_owned()), ..all.clone() }).await, ["checkout-2"]);
    assert_eq!(
        releases(ReleaseFilter { state: Some("in-flight".to_owned()), ..all.clone() }).await,
        ["search-1", "cart-1"]
    );
    assert_eq!(releases(ReleaseFilter { state: Some("' OR 1=1".to_owned()), ..all.clone() }).await, [""; 0]);
    let checkout = ReleaseFilter { service: Some("checkout".parse().unwrap()), before: Some(at(30_000)), ..all };
    assert_eq!(releases(checkout).await, ["checkout-2", "checkout-1"]);

    let view = house.store.release(&"cart-1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(
        view.row,
        house
            .store
            .releases(ReleaseFilter { service: Some("cart".parse().unwrap()), limit: 1, ..Default::default() })
            .await
            .unwrap()[0]
    );
    assert!(matches!(view.row.phase, Phase::Paused { until: None, .. }));
    assert_eq!(view.receipts.len(), 4);
    assert_eq!(view.as_of, *house.log.size().borrow() - 1, "all that was read, also of others");
    assert!(house.store.release(&"cart-2".parse().unwrap()).await.unwrap().is_none());

    let receipts = async |filter: ReceiptFilter| {
        house.store.receipts(filter).await.unwrap().iter().map(|r| r.index).collect::<Vec<_>>()
    };
    let all = ReceiptFilter { limit: 100, ..Default::default() };
    let size = *house.log.size().borrow();
    assert_eq!(receipts(all.clone()).await, (0..size).rev().collect::<Vec<_>>());
    assert_eq!(receipts(ReceiptFilter { before: Some(3), ..all.clone() }).await, [2, 1, 0]);
    assert_eq!(receipts(ReceiptFilter { limit: 0, ..all.clone() }).await.len(), 1);
    assert_eq!(receipts(ReceiptFilter { kind: Some(Kind::KeyRotated), ..all.clone() }).await, [0]);
    assert_eq!(receipts(ReceiptFilter { actor: Some("log".parse().unwrap()), ..all.clone() }).await, [0]);
    let one = ReceiptFilter { release: Some("checkout-1".parse().unwrap()), kind: Some(Kind::CanaryStepped), ..all };
    assert_eq!(receipts(one).await, [3]);
}

#[tokio::test]
async fn releases_are_found_by_words_and_digests_and_in_any_order() {
    let house = filled().await;
    let found = async |filter: ReleaseFilter| {
        let list = house.store.release_list(ReleaseFilter { limit: 100, ..filter }).await.unwrap();
        assert_eq!(list.of, list.rows.len() as u64);
        assert_eq!(list.as_of, Some(*house.log.size().borrow() - 1));
        list.rows.iter().map(|row| row.id.to_string()).collect::<Vec<_>>()
    };
    let text = |text: &str| ReleaseFilter { text: Some(text.to_owned()), ..Default::default() };
    assert_eq!(found(text("check")).await, ["checkout-3", "checkout-2", "checkout-1"]);
    assert_eq!(found(text("checkout v2")).await, ["checkout-2"]);
    assert_eq!(found(text("production CART")).await, ["cart-1"]);
    assert_eq!(found(text("sha256:0202")).await, ["checkout-2"]);
    assert_eq!(found(text("030303")).await, ["checkout-3"]);
    // As pages show it, and a beginning as short as theirs.
    assert_eq!(found(text("0303")).await, ["checkout-3"]);
    assert_eq!(found(text("0202…0202")).await, ["checkout-2"]);
    assert_eq!(found(text("0202…0303")).await, [""; 0]);
    // By how it stands.
    let state = async |state: &str| found(ReleaseFilter { state: Some(state.to_owned()), ..Default::default() }).await;
    assert_eq!(found(text("Aborted")).await, state("aborted").await);
    assert_eq!(found(text("abor")).await, state("aborted").await);
    assert!(!state("aborted").await.is_empty());
    for nothing in ["\"", "*", "words:x", "checkout NOT v2", "' OR 1=1 --", "sha256:ff"] {
        assert_eq!(found(text(nothing)).await, [""; 0], "{nothing}");
    }
    let range = ReleaseFilter { from: Some(at(20_000)), before: Some(at(30_000)), ..Default::default() };
    assert_eq!(found(range).await, ["checkout-2"]);
    let dana = ReleaseFilter { actor: Some("dana".parse().unwrap()), ..Default::default() };
    assert_eq!(found(dana).await.len(), 0, "the command to start is at an odd time: by the controller");

    for by in SortBy::ALL {
        for ascending in [false, true] {
            let sort = ReleaseSort { by, ascending };
            let whole = found(ReleaseFilter { sort, ..Default::default() }).await;
            let (mut pages, mut after) = (Vec::new(), None);
            loop {
                let filter = ReleaseFilter { sort, after, limit: 2, ..Default::default() };
                let page = house.store.releases(filter).await.unwrap();
                let Some(last) = page.last() else { break };
                let place = Place::of(sort, last);
                assert_eq!(place.to_string().parse::<Place>().unwrap(), place);
                after = Some(place);
                pages.extend(page.iter().map(|row| row.id.to_string()));
            }
            assert_eq!(pages, whole, "{sort}");
            assert_eq!(sort.to_string().parse::<ReleaseSort>().unwrap(), sort);
        }
    }
    let took = ReleaseFilter { sort: ReleaseSort { by: SortBy::Took, ascending: true }, ..Default::default() };
    assert_eq!(found(took).await[..2], ["cart-1", "search-1"], "those under way have not taken any time yet");
}

#[tokio::test]
async fn a_stretch_of_the_log_by_its_times() {
    let house = filled().await;
    let found = async |from: Option<i64>, until: Option<i64>| {
        let filter = ReceiptFilter { from: from.map(at), until: until.map(at), limit: 100, ..Default::default() };
        house.store.receipts(filter).await.unwrap().iter().map(|r| r.index).collect::<Vec<_>>()
    };
    assert_eq!(found(Some(10_000), Some(12_000)).await, [3, 2]);
    assert_eq!(found(None, Some(10_000)).await, [1, 0]);
    assert_eq!(found(Some(i64::MAX - T0), None).await, [0; 0]);
    // One that was written down late, with the time of what it tells of, hides none of those before it.
    let late = house.put("checkout-1", 10_999, Kind::GatesPassed, json!({})).await;
    let before: Vec<u64> = found(Some(10_999), None).await;
    assert_eq!((before.first(), before.last()), (Some(&late), Some(&3)), "{before:?}");
    assert_eq!(before.len() as u64, late - 2, "all that stand between: {before:?}");
    let until = house.put("checkout-1", 1, Kind::GatesPassed, json!({})).await;
    assert_eq!(found(None, Some(10_000)).await, [until, 1, 0]);
    let rollouts = house.store.rollouts(at(0)).await.unwrap();
    assert_eq!(
        rollouts.iter().map(|r| (r.receipt, r.outcome)).collect::<Vec<_>>(),
        [(4, Outcome::Promoted), (8, Outcome::Aborted), (12, Outcome::Promoted)]
    );
    house.end("search-1", 70_000, Outcome::Promoted).await;
    assert_eq!(
        house.store.rollouts(at(0)).await.unwrap().len(),
        4,
        "what was read before is not kept beyond the next end"
    );
    let size = house.store.size().await.unwrap();
    assert_eq!((size.receipts, size.releases), (*house.log.size().borrow(), 5));
    assert!(size.bytes > 0);
}

/// What a cluster was asked to run has several images: its receipt is found by each of them, and each finds it once.
#[tokio::test]
async fn a_receipt_is_found_by_every_artifact_that_it_is_about() {
    let house = house().await;
    let digest = |n: u8| model::Digest::from_sha256(&[n; 32]);
    let image = |n: u8| json!({"image": "registry.example/checkout", "digest": digest(n)});
    let images = json!({"images": [image(1), image(2), image(1), {"image": "registry.example/by-tag"}]});
    let admitted = house.put("checkout-1", 1, Kind::AdmissionAllowed, images.clone()).await;
    let gated = house.put("checkout-1", 2, Kind::GatesPassed, json!({"subject": digest(2)})).await;
    // What other receipts say under that name is theirs.
    house.put("checkout-1", 3, Kind::CommandAccepted, images).await;
    for _ in 0..2 {
        for (n, expected) in [(1, vec![admitted]), (2, vec![admitted, gated]), (3, vec![])] {
            let about = ReceiptFilter { subject: Some(digest(n)), limit: 10, ..ReceiptFilter::default() };
            let mut found: Vec<u64> =
                house.store.receipts(about).await.unwrap().iter().map(|receipt| receipt.index).collect();
            found.sort_unstable();
            assert_eq!(found, expected, "about {n}");
        }
        house.store.rebuild().await.unwrap();
    }
}

#[tokio::test]
async fn projections_are_made_again_byte_for_byte() {
    let house = filled().await;
    let folded = house.projections().await;
    house.store.rebuild().await.unwrap();
    assert_eq!(house.projections().await, folded);
    // And by themselves at opening, when an older program folded them.
    house.tamper("UPDATE p_cursor SET fold = 0").await;
    house.tamper("UPDATE p_release SET row = '{}' WHERE id = 'search-1'").await;
    house.store.close().await.unwrap();
    let House { directory, .. } = house;
    let store = SqliteStore::open(directory.path()).await.unwrap();
    let log = conformance::open(Arc::new(store.clone())).await.unwrap();
    let house = House { directory, store, log };
    assert_eq!(house.projections().await, folded);
}

#[tokio::test]
async fn a_receipt_proves_itself_and_a_flipped_byte_is_refused() {
    let house = filled().await;
    let proof = house.store.receipt(5).await.unwrap().unwrap();
    let check = |proof: &projections::ReceiptProof, seen| {
        let parts = ReceiptParts::from_text(proof.index, &proof.entry, &proof.inclusion, &proof.checkpoint).unwrap();
        verify_receipt(&parts, house.log.vkey(), seen, None)
    };
    let report = check(&proof, None);
    assert!(report.holds(), "{report:?}");
    let head = report.checkpoint.unwrap();
    let seen = Seen { size: head.size, root: head.root };
    assert_eq!(check(&proof, Some(seen)).consistency, Check::Passed);

    house.start("late", 1, 90_000).await;
    let proof = house.store.receipt(5).await.unwrap().unwrap();
    let path = house.store.consistency(seen.size, seen.size + 2).await.unwrap().unwrap();
    let path: Vec<tlog::Hash> = path.iter().map(|hash| tlog::Hash::from_base64(hash).unwrap()).collect();
    let parts = ReceiptParts::from_text(5, &proof.entry, &proof.inclusion, &proof.checkpoint).unwrap();
    assert_eq!(verify_receipt(&parts, house.log.vkey(), Some(seen), Some(&path)).consistency, Check::Passed);
    assert!(house.store.receipt(1_000).await.unwrap().is_none());
    assert!(house.store.receipt(u64::MAX).await.unwrap().is_none());

    // One letter of the signed payload, in the database file.
    house.tamper("UPDATE entry SET bytes = CAST(replace(CAST(bytes AS TEXT), 'payload\":\"ey', 'payload\":\"ez') AS BLOB) WHERE idx = 5").await;
    let report = check(&house.store.receipt(5).await.unwrap().unwrap(), None);
    assert!(
        matches!(report.signature, Check::Refused(_)) && matches!(report.inclusion, Check::Refused(_)),
        "{report:?}"
    );
    // Lists still show the others, and say of this one that it is damaged.
    let listed = house.store.receipts(ReceiptFilter { limit: 100, ..Default::default() }).await.unwrap();
    let damaged: Vec<u64> =
        listed.iter().filter(|r| r.payload.facts.contains_key("damaged")).map(|r| r.index).collect();
    assert_eq!(damaged, [5]);
    // Who acts on the log does not act on damaged history.
    assert!(house.log.range(0, 100).await.is_err());
}

fn tick(seq: u64) -> Tick {
    let version = |n: u64| VersionTick {
        n,
        p99_ms: Some(seq as f64 / 8.0),
        histogram: vec![HistogramBucket(100, n), HistogramBucket(900 + seq, 1)],
        ..Default::default()
    };
    Tick {
        seq,
        boot: "boot".to_owned(),
        at: at(seq as i64 * 1000),
        weight: Weight::new(5).unwrap(),
        weight_changed: false,
        epoch: Epoch(1),
        stable: version(100),
        canary: Some(version(5)),
        canary_last_sent: None,
        sticky: false,
        judged: None,
        counted: Vec::new(),
    }
}

#[tokio::test]
async fn samples_are_kept() {
    let house = house().await;
    let release: ReleaseId = "checkout-1".parse().unwrap();
    let ticks: Vec<Tick> = (0..150).map(tick).collect();
    for tick in &ticks {
        house.store.append_ticks(&release, std::slice::from_ref(tick)).await.unwrap();
        if tick.seq % 40 == 0 {
            house.store.flush_ticks().await.unwrap();
        }
    }
    let read = async |from, limit| SampleStore::ticks(&house.store, &release, from, limit).await.unwrap();
    assert_eq!(read(at(0), 1000).await, ticks, "written and waiting, with histograms");
    assert_eq!(read(at(100_000), 1000).await, ticks[100..]);
    assert_eq!(read(at(100_000), 7).await, ticks[100..107]);
    house.store.flush_ticks().await.unwrap();
    assert_eq!(read(at(0), 1000).await, ticks, "all written");
    assert_eq!(SampleStore::ticks(&house.store, &"other-1".parse().unwrap(), at(0), 10).await.unwrap(), []);

    let charted = projections::ReadModel::ticks(&house.store, &release, at(10_000), at(19_000), 1000).await.unwrap();
    assert_eq!(charted.iter().map(|tick| tick.seq).collect::<Vec<_>>(), (10..=19).collect::<Vec<_>>());
    assert!(charted.iter().all(|tick| tick.stable.histogram.is_empty()));
    let thinned = projections::ReadModel::ticks(&house.store, &release, at(0), at(1_000_000), 20).await.unwrap();
    assert!(thinned.len() <= 20, "{}", thinned.len());

    let measurement = |n: i64| Measurement {
        run: "run".to_owned(),
        metric: "p99".to_owned(),
        started: at(n),
        finished: at(n + 5),
        verdict: Verdict::Successful,
        query: "histogram_quantile(…)".to_owned(),
        value: Some(json!(0.1 + n as f64)),
        message: String::new(),
    };
    for n in 0..3 {
        house.store.append_measurement(&release, &measurement(n)).await.unwrap();
    }
    assert_eq!(house.store.measurements(&release).await.unwrap(), (0..3).map(measurement).collect::<Vec<_>>());

    // What waits is written by closing.
    house.store.append_ticks(&release, &[tick(150)]).await.unwrap();
    house.store.close().await.unwrap();
    let again = SqliteStore::open(house.directory.path()).await.unwrap();
    assert_eq!(SampleStore::ticks(&again, &release, at(150_000), 10).await.unwrap(), [tick(150)]);
}
