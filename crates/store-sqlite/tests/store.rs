//! The SQLite store against the suites, and what it does when the file, the disk or a second server are in the way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail by panicking"
)]

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use access::AccessStore;
use receipt_log::{
    AppendError, Log as _, Store,
    conformance::{self, draft},
};
use store_sqlite::{DATABASE_FILE, OpenError, SqliteStore};
use tempfile::TempDir;

async fn empty() -> SqliteStore {
    // The directory lives as long as the test process: the store keeps its files open.
    let directory = TempDir::new().unwrap().keep();
    SqliteStore::open(directory).await.unwrap()
}

#[tokio::test]
async fn conforms_as_a_log_store() {
    conformance::run(async || Arc::new(empty().await) as Arc<dyn Store>).await;
}

#[tokio::test]
async fn conforms_as_an_access_store() {
    access::conformance::run(async || Arc::new(empty().await) as Arc<dyn AccessStore>).await;
}

async fn open_error(path: &Path) -> OpenError {
    match SqliteStore::open(path).await {
        Err(error) => error,
        Ok(_) => panic!("{} opened", path.display()),
    }
}

#[tokio::test]
async fn a_second_server_is_told_who_has_it() {
    let directory = TempDir::new().unwrap();
    let first = SqliteStore::open(directory.path()).await.unwrap();
    let error = open_error(directory.path()).await;
    assert!(matches!(&error, OpenError::InUse { pid: Some(pid), .. } if *pid == std::process::id()), "{error}");
    assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
    // Reading beside it is possible, writing is not.
    let log = conformance::open(Arc::new(first.clone())).await.unwrap();
    let reader = SqliteStore::open_read_only(directory.path()).await.unwrap();
    assert_eq!(reader.head().await.unwrap().size, 1);
    log.append(draft(1)).await.unwrap();
    assert_eq!(reader.head().await.unwrap().size, 2);
    assert!(reader.put_segment(&model::Digest::from_sha256(&[0; 32]), b"x").await.is_err());
    reader.close().await.unwrap();
    first.close().await.unwrap();
    drop((first, log));
    assert!(SqliteStore::open(directory.path()).await.is_ok(), "the lock goes with the process or the store");
}

#[tokio::test]
async fn files_are_closed_to_others() {
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let store = SqliteStore::open(&data).await.unwrap();
    conformance::open(Arc::new(store)).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    for entry in fs::read_dir(&data).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let directory = TempDir::new().unwrap();
    fs::write(directory.path().join(DATABASE_FILE), "this is a text, and not a short one either ".repeat(300)).unwrap();
    let error = open_error(directory.path()).await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");

    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = open_error(&file).await;
    assert!(matches!(error, OpenError::Directory { .. }), "{error}");
    let missing = SqliteStore::open_read_only(directory.path()).await.map(|_| ()).unwrap_err();
    assert!(matches!(missing, OpenError::Missing(_)), "{missing}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_found_on_reading() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).await.unwrap();
    let log = conformance::open(Arc::new(store.clone())).await.unwrap();
    for n in 1..200 {
        log.append(draft(n)).await.unwrap();
    }
    store.close().await.unwrap();
    drop((store, log));
    let path = directory.path().join(DATABASE_FILE);
    let good = fs::read(&path).unwrap();
    // The schema's page, and pages of tables: zeroed as by a disk that lost them, or cut off.
    for (from, to) in [(100, 4096), (4096, 5 * 4096), (8 * 4096, good.len())] {
        let mut bad = good.clone();
        bad[from..to].fill(0);
        fs::write(&path, &bad).unwrap();
        let opened = SqliteStore::open(directory.path()).await;
        let found = match opened {
            Err(error) => error.to_string(),
            Ok(store) => {
                let log = conformance::open(Arc::new(store.clone())).await;
                let report = receipt_log::offline::verify_log(&store, &Default::default(), |_, _| {}).await;
                let holds = report.as_ref().is_ok_and(|report| report.holds);
                assert!(log.is_err() || !holds, "{from}..{to}: opened and verified");
                String::new()
            }
        };
        assert!(!found.contains("panicked"), "{found}");
    }
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    let opened = SqliteStore::open(directory.path()).await;
    if let Ok(store) = opened {
        let report = receipt_log::offline::verify_log(&store, &Default::default(), |_, _| {}).await;
        assert!(!report.is_ok_and(|report| report.holds), "half a file");
    }
    fs::write(&path, &good).unwrap();
    let store = SqliteStore::open(directory.path()).await.unwrap();
    assert!(receipt_log::offline::verify_log(&store, &Default::default(), |_, _| {}).await.unwrap().holds);
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    execute(directory.path(), "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)").await;
    let error = open_error(directory.path()).await;
    assert!(matches!(error, OpenError::Newer(_)), "{error}");
}

/// Runs SQL behind the store's back.
async fn execute(directory: &Path, sql: &'static str) {
    use sqlx::{ConnectOptions as _, Connection as _};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.join(DATABASE_FILE));
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Runs `body` in a child process with a file system of its own at the directory that it is given, or says that it cannot.
/// `body` is the name of one of the tests below, which do nothing without `STORE_TEST_MOUNT`.
fn in_mount(options: &str, prepare: &str, test: &str) {
    let directory = TempDir::new().unwrap();
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs \"$0\" || exit 77; {prepare}; STORE_TEST_MOUNT=\"$0\" exec \"$1\" --exact {test} --nocapture --ignored"
    );
    let output = std::process::Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .arg(directory.path())
        .arg(std::env::current_exe().unwrap())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains("1 passed"), "{text}");
        }
        Ok(output)
            if output.status.code() == Some(77)
                || String::from_utf8_lossy(&output.stderr).contains("unshare failed") =>
        {
            eprintln!("SKIPPED: {test}: no file system can be mounted here");
        }
        Ok(output) => panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("SKIPPED: {test}: unshare does not run: {error}"),
    }
}

#[test]
fn a_full_disk_stops_the_log_and_loses_nothing() {
    in_mount("size=2m", "true", "full_disk_in_mount");
}

#[test]
fn a_read_only_disk_is_named() {
    in_mount("size=2m", "true", "read_only_disk_in_mount");
}

#[tokio::test]
#[ignore = "started by a_full_disk_stops_the_log_and_loses_nothing in a file system of its own"]
async fn full_disk_in_mount() {
    let Some(mount) = std::env::var_os("STORE_TEST_MOUNT") else { return };
    let store = SqliteStore::open(&mount).await.unwrap();
    let log = conformance::open(Arc::new(store.clone())).await.unwrap();
    let mut acknowledged = Vec::new();
    let error = loop {
        let n = acknowledged.len() as u64 + 1;
        let mut draft = draft(n);
        draft.payload.facts.insert("filler".to_owned(), "x".repeat(8000).into());
        match log.append(draft).await {
            Ok(index) => acknowledged.push((n, index)),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, AppendError::Stopped(why) if why.contains("full")), "{error}");
    assert!(log.stopped().await.contains("full"));
    assert!(matches!(log.append(draft(999_999)).await, Err(AppendError::Stopped(_))));
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    let _ = store.close().await;
    drop((log, store));

    // Too full to open, with a message that says so; or open, with everything that was acknowledged.
    match SqliteStore::open(&mount).await {
        Err(error) => assert!(error.to_string().contains("full"), "{error}"),
        Ok(store) => {
            for (n, index) in acknowledged {
                let known = store.known(&[format!("key-{n}")]).await.unwrap();
                assert_eq!(known[0].map(|known| known.index), Some(index));
            }
            assert!(receipt_log::offline::verify_log(&store, &Default::default(), |_, _| {}).await.unwrap().holds);
        }
    }
}

#[tokio::test]
#[ignore = "started by a_read_only_disk_is_named in a file system of its own"]
async fn read_only_disk_in_mount() {
    let Some(mount) = std::env::var_os("STORE_TEST_MOUNT") else { return };
    let store = SqliteStore::open(&mount).await.unwrap();
    let log = conformance::open(Arc::new(store.clone())).await.unwrap();
    log.append(draft(1)).await.unwrap();
    store.close().await.unwrap();
    drop((log, store));
    let remounted = std::process::Command::new("mount").args(["-o", "remount,ro"]).arg(&mount).status().unwrap();
    assert!(remounted.success());
    let error = open_error(Path::new(&mount)).await;
    assert!(matches!(error, OpenError::ReadOnly { .. }), "{error}");
    // What is there can still be read and verified.
    let reader = SqliteStore::open_read_only(&mount).await.unwrap();
    let report = receipt_log::offline::verify_log(&reader, &Default::default(), |_, _| {}).await.unwrap();
    assert!(report.holds && report.size == 2, "{report:?}");
}
