//! Real peers: found on the `PATH` of tests, where `cargo xtask setup` puts Debian's and what it builds with Go.
#![allow(dead_code, unreachable_pub)] // each test program uses its part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // tests

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The program on the `PATH`; loud when it is not there, and for what every Debian has, an error on CI.
pub fn peer(name: &str) -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|dir| dir.join(name))
        .find(|p| p.is_file());
    if found.is_none() {
        let must = name == "docker-registry" && std::env::var_os("CI").is_some();
        assert!(!must, "{name} is required when CI is set: cargo xtask setup");
        eprintln!("SKIPPED: a test against the real {name}: it is not on the PATH (cargo xtask setup)");
    }
    found
}

/// A real registry.
pub struct RealRegistry {
    child: Child,
    pub host: String,
    _dir: tempfile::TempDir,
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian's docker-registry on a free port: it has no referrers API.
pub async fn docker_registry() -> Option<RealRegistry> {
    let program = peer("docker-registry")?;
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let host = format!("127.0.0.1:{port}");
    let config = dir.path().join("config.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{host}'}}\n",
        dir.path().join("data").display()
    );
    std::fs::write(&config, text).unwrap();
    let child =
        Command::new(program).arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let registry = RealRegistry { child, host, _dir: dir };
    let up = async {
        while tokio::net::TcpStream::connect(&registry.host).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), up).await.expect("docker-registry listens");
    Some(registry)
}

/// go-containerregistry's registry, built where there is Go: it has the referrers API. It keeps everything in memory.
pub fn referrers_registry() -> Option<RealRegistry> {
    let program = peer("referrers-registry")?;
    let mut child = Command::new(program).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let host = line.trim().to_owned();
    let registry = RealRegistry { child, host, _dir: tempfile::tempdir().unwrap() };
    assert!(!registry.host.is_empty(), "referrers-registry says where it listens");
    Some(registry)
}
