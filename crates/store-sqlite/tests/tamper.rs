//! Whatever is altered in the database file is found, and where.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use proptest::{prelude::*, test_runner::TestCaseError};
use receipt_log::Log as _;
use receipt_log::{
    MemorySigner, Signer as _,
    conformance::{self, draft},
    offline::{Bad, Pins, VerifyReport, verify_log},
    proofs,
};
use receipts::{Envelope, pae};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use store_sqlite::{DATABASE_FILE, SqliteStore};
use tempfile::TempDir;
use tlog::{SignedNote, VerifyingKey};

/// Receipts of the log that is tampered with.
const SIZE: u64 = 90;

/// A closed log with commits of one and of many receipts, its key, and a checkpoint seen half way.
struct Fixture {
    database: PathBuf,
    vkey: VerifyingKey,
    half_way: SignedNote,
    half: u64,
}

fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let directory = TempDir::new().unwrap().keep();
        block_on(async {
            let store = SqliteStore::open(&directory).await.unwrap();
            let log = conformance::open(Arc::new(store.clone())).await.unwrap();
            for n in 1..30 {
                log.append(draft(n)).await.unwrap();
            }
            let (half_way, head) = proofs::checkpoint(&store).await.unwrap().unwrap();
            futures::future::join_all((30..60).map(|n| log.append(draft(n)))).await;
            for n in 60..SIZE {
                log.append(draft(n)).await.unwrap();
            }
            store.close().await.unwrap();
            Fixture { database: directory.join(DATABASE_FILE), vkey: log.vkey().clone(), half_way, half: head.size }
        })
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// What the verifier says of a copy that was altered.
fn altered(alter: impl AsyncFnOnce(&mut SqliteConnection)) -> VerifyReport {
    let fixture = fixture();
    let directory = TempDir::new().unwrap();
    let copy = directory.path().join(DATABASE_FILE);
    fs::copy(&fixture.database, &copy).unwrap();
    block_on(async {
        let mut connection = SqliteConnectOptions::new().filename(&copy).connect().await.unwrap();
        alter(&mut connection).await;
        connection.close().await.unwrap();
        verified(directory.path()).await
    })
}

async fn verified(directory: &Path) -> VerifyReport {
    let store = SqliteStore::open_read_only(directory).await.unwrap();
    let pins = Pins { vkey: Some(fixture().vkey.clone()), checkpoint: Some(fixture().half_way.clone()) };
    let report = verify_log(&store, &pins, |_, _| {}).await.unwrap();
    store.close().await.unwrap();
    report
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str, binds: &[i64]) {
    let mut query = sqlx::query(sql);
    for bind in binds {
        query = query.bind(*bind);
    }
    query.execute(connection).await.unwrap();
}

async fn bytes(connection: &mut SqliteConnection, index: u64) -> Vec<u8> {
    sqlx::query_scalar("SELECT bytes FROM entry WHERE idx = ?1").bind(index as i64).fetch_one(connection).await.unwrap()
}

async fn put(connection: &mut SqliteConnection, index: u64, bytes: Vec<u8>) {
    sqlx::query("UPDATE entry SET bytes = ?2 WHERE idx = ?1")
        .bind(index as i64)
        .bind(bytes)
        .execute(connection)
        .await
        .unwrap();
}

/// Exchanges two rows of a table keyed by `idx` or `id`.
async fn swap(connection: &mut SqliteConnection, table: &str, a: u64, b: u64) {
    let key = if table == "entry" { "idx" } else { "id" };
    for (from, to) in [(a as i64, -1), (b as i64, a as i64), (-1, b as i64)] {
        let sql = sqlx::AssertSqlSafe(format!("UPDATE {table} SET {key} = ?2 WHERE {key} = ?1"));
        sqlx::query(sql).bind(from).bind(to).execute(&mut *connection).await.unwrap();
    }
}

fn found(report: &VerifyReport) -> Result<Bad, TestCaseError> {
    prop_assert!(!report.holds, "{report:?}");
    report.first_bad.clone().ok_or_else(|| TestCaseError::fail("no finding"))
}

/// The finding names this receipt as the first, exactly.
fn exactly(report: &VerifyReport, index: u64) -> Result<(), TestCaseError> {
    let bad = found(report)?;
    prop_assert_eq!((bad.index, bad.until), (Some(index), None), "{:?}", bad);
    prop_assert_eq!(report.checked, index);
    Ok(())
}

/// The finding's range holds this receipt, and all before the range is right.
fn within(report: &VerifyReport, index: u64) -> Result<(), TestCaseError> {
    let bad = found(report)?;
    let first = bad.index.ok_or_else(|| TestCaseError::fail("no index"))?;
    prop_assert!((first..=bad.until.unwrap_or(first)).contains(&index), "{index} is not within {bad:?}");
    Ok(())
}

#[test]
fn what_is_not_altered_holds() {
    let report = altered(async |_| {});
    assert!(report.holds && report.key_pinned && report.checkpoint_pinned, "{report:?}");
    assert_eq!((report.size, report.checked), (SIZE, SIZE));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit(index in 0..SIZE, place in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let report = altered(async |connection| {
            let mut bytes = bytes(connection, index).await;
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            put(connection, index, bytes).await;
        });
        exactly(&report, index)?;
    }

    #[test]
    fn a_deleted_receipt(index in 0..SIZE, node_too in any::<bool>()) {
        let report = altered(async |connection| {
            execute(connection, "DELETE FROM entry WHERE idx = ?1", &[index as i64]).await;
            if node_too {
                execute(connection, "DELETE FROM node WHERE id = ?1", &[index as i64]).await;
            }
        });
        exactly(&report, index)?;
    }

    #[test]
    fn two_receipts_exchanged(a in 0..SIZE, b in 0..SIZE, leaves_too in any::<bool>()) {
        prop_assume!(a != b);
        let report = altered(async |connection| {
            swap(connection, "entry", a, b).await;
            if leaves_too {
                swap(connection, "node", a, b).await;
            }
        });
        if leaves_too {
            within(&report, a.min(b))?;
        } else {
            exactly(&report, a.min(b))?;
        }
    }

    #[test]
    fn an_older_copy(keep in 1..SIZE) {
        // As a backup of an earlier time: everything in it is right. Only who remembers a later checkpoint can tell.
        let mut kept = None;
        let report = altered(async |connection| {
            let size: i64 = sqlx::query_scalar("SELECT max(size) FROM checkpoint WHERE size <= ?1").bind(keep as i64).fetch_one(&mut *connection).await.unwrap();
            kept = Some(size as u64);
            execute(connection, "DELETE FROM entry WHERE idx >= ?1", &[size]).await;
            execute(connection, "DELETE FROM checkpoint WHERE size > ?1", &[size]).await;
        });
        let size = kept.unwrap();
        if size < fixture().half {
            exactly_missing(&report, size)?;
        } else {
            prop_assert!(report.holds, "{report:?}");
        }
    }

    #[test]
    fn a_cut_end(keep in 0..SIZE) {
        let report = altered(async |connection| {
            execute(connection, "DELETE FROM entry WHERE idx >= ?1", &[keep as i64]).await;
        });
        exactly(&report, keep)?;
    }

    #[test]
    fn a_receipt_signed_by_another_key(index in 0..SIZE, keep_keyid in any::<bool>()) {
        let report = altered(async |connection| {
            let mut envelope = Envelope::parse(&bytes(connection, index).await).unwrap();
            let other = MemorySigner::from_seed(&[9; 32]);
            let sig = other.sign(&pae(&envelope.payload_type, &envelope.payload)).await.unwrap();
            envelope.signatures[0].sig = sig.to_vec();
            if !keep_keyid {
                envelope.signatures[0].keyid = receipts::ReceiptKey::from_bytes(&other.public_key()).unwrap().keyid().to_owned();
            }
            put(connection, index, envelope.to_bytes()).await;
        });
        exactly(&report, index)?;
    }

    #[test]
    fn a_stored_node(place in any::<prop::sample::Index>()) {
        let mut leaves = 0..0;
        let report = altered(async |connection| {
            let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM node").fetch_all(&mut *connection).await.unwrap();
            let id = ids[place.index(ids.len())];
            leaves = tlog::NodeId { level: (id >> 56) as u8, index: (id & ((1 << 56) - 1)) as u64 }.leaves().unwrap();
            execute(connection, "UPDATE node SET hash = zeroblob(32) WHERE id = ?1", &[id]).await;
        });
        let bad = found(&report)?;
        prop_assert!(bad.index.is_some_and(|first| leaves.contains(&first)), "{bad:?} for {leaves:?}");
    }

    #[test]
    fn the_checkpoint(place in any::<prop::sample::Index>(), bit in 0..7_u32) {
        let report = altered(async |connection| {
            let note: String = sqlx::query_scalar("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").fetch_one(&mut *connection).await.unwrap();
            let mut note = note.into_bytes();
            let place = place.index(note.len());
            note[place] ^= 1 << bit;
            let note = String::from_utf8_lossy(&note).into_owned();
            sqlx::query("UPDATE checkpoint SET note = ?1 WHERE size = (SELECT max(size) FROM checkpoint)").bind(note).execute(connection).await.unwrap();
        });
        found(&report)?;
    }

    #[test]
    fn a_receipt_put_behind(copy_of in 0..SIZE) {
        let report = altered(async |connection| {
            execute(connection, "INSERT INTO entry (idx, bytes) SELECT ?2, bytes FROM entry WHERE idx = ?1", &[copy_of as i64, SIZE as i64]).await;
        });
        exactly_missing(&report, SIZE)?;
    }
}

/// The finding is about the end of the log.
fn exactly_missing(report: &VerifyReport, index: u64) -> Result<(), TestCaseError> {
    let bad = found(report)?;
    prop_assert_eq!(bad.index, Some(index), "{:?}", bad);
    Ok(())
}

#[test]
fn a_whole_log_by_another_key_does_not_pass_for_ours() {
    let directory = TempDir::new().unwrap();
    let report = block_on(async {
        let store = SqliteStore::open(directory.path()).await.unwrap();
        let signer = Arc::new(MemorySigner::from_seed(&[9; 32]));
        let clock = receipt_log::ManualClock::default();
        let log = receipt_log::ReceiptLog::open(Arc::new(store.clone()), signer, &clock, Some("example.com/log"))
            .await
            .unwrap();
        for n in 1..40 {
            log.append(draft(n)).await.unwrap();
        }
        store.close().await.unwrap();
        verified(directory.path()).await
    });
    assert!(!report.holds, "{report:?}");
    assert!(report.first_bad.unwrap().reason.contains("no signature by a known key"));
}

#[test]
fn another_history_is_told_from_ours_by_a_checkpoint_seen_before() {
    let directory = TempDir::new().unwrap();
    let report = block_on(async {
        // The same key, other receipts: what a forger with the key would make.
        let store = SqliteStore::open(directory.path()).await.unwrap();
        let log = conformance::open(Arc::new(store.clone())).await.unwrap();
        for n in 101..160 {
            log.append(draft(n)).await.unwrap();
        }
        store.close().await.unwrap();
        verified(directory.path()).await
    });
    assert!(!report.holds, "{report:?}");
    assert!(report.first_bad.unwrap().reason.contains("another history"));
}

#[test]
fn an_export_can_be_checked_without_us() {
    let directory = TempDir::new().unwrap();
    fs::copy(&fixture().database, directory.path().join(DATABASE_FILE)).unwrap();
    let out = directory.path().join("export");
    block_on(async {
        let store = SqliteStore::open_read_only(directory.path()).await.unwrap();
        let size = receipt_log::offline::export(&store, &out, Some(&fixture().vkey), |_, _| {}).await.unwrap();
        assert_eq!(size, SIZE);
    });
    // As a stranger would: key and files, nothing else.
    let vkey: VerifyingKey = fs::read_to_string(out.join("log.vkey")).unwrap().trim().parse().unwrap();
    let note = SignedNote::parse(&fs::read(out.join("checkpoint")).unwrap()).unwrap();
    let head = tlog::Checkpoint::open(&note, vkey.name(), std::slice::from_ref(&vkey)).unwrap().checkpoint;
    let tile = tlog::TilePath::entries_in_tree(0, head.size).unwrap();
    let bundle = fs::read(out.join(tile.to_string())).unwrap();
    let leaves: Vec<tlog::Hash> =
        tlog::tiles::decode_entries(&bundle, tile.tile().width()).unwrap().into_iter().map(tlog::leaf_hash).collect();
    assert_eq!(tlog::root_of_leaves(&leaves), head.root);
    let hashes = fs::read(out.join(tlog::TilePath::Hashes(tile.tile()).to_string())).unwrap();
    assert_eq!(tile.tile().decode(&hashes).unwrap(), leaves);
}
