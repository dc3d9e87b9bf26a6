//! Kills, failing disks and tampering: what was acknowledged is there, once, and what was altered is found.
//!
//! The appending process is this test's own binary, started again as a child. Its acknowledgements arrive through a pipe;
//! those are the promises that the reopened log is held against. `DELIVERYOS_CRASH_KILLS` sets the number of kills.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use model::{Digest, ReleaseId};
use receipt_log::{
    AppendError, Batch, Head, Known, Log as _, Store, StoreError, StoredCheckpoint, StoredEntry,
    conformance::{self, draft},
    offline::{Pins, verify_log},
};
use store_sqlite::SqliteStore;
use tempfile::TempDir;
use tlog::{Hash, NodeId};

/// Writers in flight when the process is killed.
const WRITERS: u64 = 48;
/// Kills of one log before a fresh one is begun: verifying it stays quick.
const KILLS_PER_LOG: u64 = 10;

/// What the child was told in its environment: the directory, where to begin counting, and how to acknowledge.
const CHILD: &str = "STORE_CRASH_CHILD";

#[test]
fn kills_lose_nothing_that_was_acknowledged() {
    let kills = std::env::var("DELIVERYOS_CRASH_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(50);
    let outcome = kill_many(kills, "durable");
    println!(
        "{kills} kills, {} acknowledged, {} lost, {} elsewhere",
        outcome.acknowledged, outcome.lost, outcome.moved
    );
    assert!(outcome.acknowledged > kills, "the children did work: {} acknowledged", outcome.acknowledged);
    assert_eq!((outcome.lost, outcome.moved), (0, 0));
}

/// The negative control: a store that answers before it has committed must be caught by the very same test.
#[test]
fn acknowledging_before_the_commit_is_found_out() {
    let outcome = kill_many(20, "early");
    assert!(outcome.lost > 0, "{} acknowledged, none lost: this test would not notice", outcome.acknowledged);
}

#[derive(Default)]
struct Outcome {
    acknowledged: u64,
    lost: u64,
    moved: u64,
}

fn kill_many(kills: u64, how: &str) -> Outcome {
    let seed = std::env::var("DELIVERYOS_CRASH_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()) << 20);
    println!("DELIVERYOS_CRASH_SEED={seed}");
    let mut random = Random(seed);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut outcome = Outcome::default();
    let mut directory = TempDir::new().unwrap();
    let mut promised: HashMap<u64, u64> = HashMap::new();
    for kill in 0..kills {
        if kill % KILLS_PER_LOG == 0 {
            directory = TempDir::new().unwrap();
            promised.clear();
        }
        let mut child = start(directory.path(), kill * 1_000_000, how, None);
        let acknowledgements = acknowledgements(&mut child);
        // A random moment: some milliseconds into the start, or after some acknowledgements and then some microseconds.
        let patience = if random.below(5) == 0 { 0 } else { 1 + random.below(400) };
        let mut heard = Vec::new();
        while (heard.len() as u64) < patience {
            match acknowledgements.recv() {
                Ok(line) => heard.push(line),
                Err(_) => break,
            }
        }
        let moment = Duration::from_micros(if patience == 0 { random.below(60_000) } else { random.below(4_000) });
        if let Ok(line) = acknowledgements.recv_timeout(moment) {
            heard.push(line);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was in the pipe was promised as well.
        heard.extend(acknowledgements);
        for line in heard {
            let (n, index) = acknowledgement(&line).unwrap_or_else(|| panic!("the child said {line:?}"));
            promised.insert(n, index);
            outcome.acknowledged += 1;
        }
        let (lost, moved) = runtime.block_on(hold_against(directory.path(), &promised));
        outcome.lost += lost;
        outcome.moved += moved;
        // What is lost once is not counted again.
        if lost > 0 {
            promised.clear();
            directory = TempDir::new().unwrap();
        }
    }
    outcome
}

/// Opens the log again, verifies all of it, and counts the promises that it does not keep.
async fn hold_against(directory: &Path, promised: &HashMap<u64, u64>) -> (u64, u64) {
    let store = SqliteStore::open(directory).await.unwrap();
    let log = conformance::open(Arc::new(store.clone())).await.unwrap();
    let report =
        verify_log(&store, &Pins { vkey: Some(log.vkey().clone()), checkpoint: None }, |_, _| {}).await.unwrap();
    assert!(report.holds, "{report:?}");
    // Each key once, each where it was promised. (That a key is there once is also the index of keys' own constraint.)
    let mut found: HashMap<u64, u64> = HashMap::new();
    for receipt in log.range(0, u32::MAX).await.unwrap().into_iter().skip(1) {
        let n = receipt.payload.facts["n"].as_u64().unwrap();
        assert_eq!(found.insert(n, receipt.index), None, "key-{n} is there twice");
    }
    let lost = promised.keys().filter(|n| !found.contains_key(n)).count() as u64;
    let moved = promised.iter().filter(|(n, index)| found.get(n).is_some_and(|at| at != *index)).count() as u64;
    store.close().await.unwrap();
    (lost, moved)
}

/// An fsync that fails, a write that fails, a disk that is full, at many moments: the process acknowledges nothing more and
/// ends; nothing that it acknowledged is missing.
#[test]
fn a_failing_disk_ends_the_process_and_loses_nothing() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED: a_failing_disk_ends_the_process_and_loses_nothing: there is no strace");
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut stopped = 0;
    for (call, error) in [("fdatasync,fsync", "EIO"), ("pwrite64", "EIO"), ("pwrite64", "ENOSPC")] {
        // From the making of the database to the midst of appending; strace counts the calls of each thread apart.
        for when in [1, 8, 25, 60, 150, 400] {
            let directory = TempDir::new().unwrap();
            // Every call from this one on fails, as on a disk that has died.
            let inject = format!("inject={call}:error={error}:when={when}+");
            let mut child = start(directory.path(), 0, "durable", Some(&inject));
            let lines: Vec<String> = acknowledgements(&mut child).into_iter().collect();
            let status = child.wait().unwrap();
            let code = status.code();
            assert!(matches!(code, Some(3 | 4)), "{inject}: the process ended with {status}: {lines:?}");
            stopped += u64::from(code == Some(3));
            let promised: HashMap<u64, u64> = lines.iter().filter_map(|line| acknowledgement(line)).collect();
            println!("{inject}: exit {code:?} after {} acknowledgements", promised.len());
            let (lost, moved) = runtime.block_on(hold_against(directory.path(), &promised));
            assert_eq!((lost, moved), (0, 0), "{inject}: {} acknowledged", promised.len());
        }
    }
    assert!(stopped >= 6, "only {stopped} of the children came as far as appending");
}

fn start(directory: &Path, first: u64, how: &str, inject: Option<&str>) -> Child {
    let this = std::env::current_exe().unwrap();
    let mut command = match inject {
        None => Command::new(this),
        Some(inject) => {
            let mut strace = Command::new("strace");
            strace
                .args([
                    "-f",
                    "--seccomp-bpf",
                    "-qq",
                    "-o",
                    "/dev/null",
                    "-e",
                    "trace=fdatasync,fsync,pwrite64",
                    "-e",
                    inject,
                ])
                .arg(this);
            strace
        }
    };
    command
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{first} {how} {}", directory.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The child's lines that begin with `ack`, as they come.
fn acknowledgements(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok).filter(|line| line.starts_with("ack ") && line.ends_with('.')) {
            let _ = sender.send(line);
        }
    });
    receiver
}

fn acknowledgement(line: &str) -> Option<(u64, u64)> {
    let (n, index) = line.strip_prefix("ack ")?.strip_suffix('.')?.split_once(' ')?;
    Some((n.parse().ok()?, index.parse().ok()?))
}

/// The appending process. Exits with 3 when the log stopped, with 4 when it did not open.
#[test]
#[ignore = "started by the tests above"]
fn child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let mut told = told.splitn(3, ' ');
    let first: u64 = told.next().unwrap().parse().unwrap();
    let early = told.next().unwrap() == "early";
    let directory = told.next().unwrap().to_owned();
    tokio::runtime::Runtime::new().unwrap().block_on(async move {
        let opened = match SqliteStore::open(&directory).await {
            Ok(store) if early => conformance::open(Arc::new(Early::new(store))).await,
            Ok(store) => conformance::open(Arc::new(store)).await,
            Err(_) => std::process::exit(4),
        };
        let Ok(log) = opened else { std::process::exit(4) };
        for writer in 0..WRITERS {
            let log = log.clone();
            tokio::spawn(async move {
                for n in (first + writer..).step_by(WRITERS as usize) {
                    match log.append(draft(n)).await {
                        // One write each: a line is in the pipe whole or not at all.
                        Ok(index) => std::io::stdout().write_all(format!("ack {n} {index}.\n").as_bytes()).unwrap(),
                        Err(AppendError::Stopped(_)) => return,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        log.stopped().await;
        // Whatever would be acknowledged after the doubt shows here.
        for n in 0..100 {
            assert!(log.append(draft(first + 500_000 + n)).await.is_err());
        }
        std::process::exit(3);
    });
}

/// A store that answers at once and commits behind: what no store may do.
struct Early {
    store: SqliteStore,
    behind: tokio::sync::mpsc::UnboundedSender<Batch>,
}

impl Early {
    fn new(store: SqliteStore) -> Self {
        let (behind, mut batches) = tokio::sync::mpsc::unbounded_channel();
        let committer = store.clone();
        tokio::spawn(async move {
            while let Some(batch) = batches.recv().await {
                committer.commit(batch).await.unwrap();
            }
        });
        Self { store, behind }
    }
}

#[async_trait]
impl Store for Early {
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.behind.send(batch).map_err(|error| StoreError::Failed(error.to_string()))
    }
    async fn head(&self) -> Result<Head, StoreError> {
        self.store.head().await
    }
    async fn known(&self, keys: &[String]) -> Result<Vec<Option<Known>>, StoreError> {
        self.store.known(keys).await
    }
    async fn entries(&self, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        self.store.entries(from, limit).await
    }
    async fn of_release(&self, release: &ReleaseId, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        Store::of_release(&self.store, release, from, limit).await
    }
    async fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, StoreError> {
        self.store.nodes(ids).await
    }
    async fn level(&self, level: u8, first: u64, count: u32) -> Result<Vec<Hash>, StoreError> {
        self.store.level(level, first, count).await
    }
    async fn checkpoints(&self, from: u64, limit: u32) -> Result<Vec<StoredCheckpoint>, StoreError> {
        self.store.checkpoints(from, limit).await
    }
    async fn put_segment(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        self.store.put_segment(digest, bytes).await
    }
    async fn segment(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Store::segment(&self.store, digest).await
    }
}

/// Enough randomness for moments (xorshift64*), repeatable by its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit.max(1)
    }
}
