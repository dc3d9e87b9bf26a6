//! Real peers: found on the `PATH`, where `cargo xtask setup` puts Debian's.
#![allow(dead_code, unreachable_pub)] // each test program uses its part
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)] // tests

use std::{
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

/// A real registry, which has no referrers API.
pub struct DockerRegistry {
    child: Child,
    pub host: String,
    _dir: tempfile::TempDir,
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian's docker-registry on a free port.
pub async fn docker_registry() -> Option<DockerRegistry> {
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
    let registry = DockerRegistry { child, host, _dir: dir };
    let up = async {
        while tokio::net::TcpStream::connect(&registry.host).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), up).await.expect("docker-registry listens");
    Some(registry)
}
