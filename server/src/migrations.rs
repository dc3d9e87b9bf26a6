//! Down-migrations: the commands that the configuration names.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use async_trait::async_trait;
use controller::{MigrationError, Migrations};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
};

use crate::config::MigrationConfig;

/// Characters of a migration's last line that its receipt keeps: one line of a page.
const MAX_SAID: usize = 120;
/// Bytes of its output that are kept while it runs; the rest is read and dropped, so that it never blocks.
const MAX_OUTPUT: usize = 64 * 1024;

/// Runs configured commands.
pub struct CommandMigrations(BTreeMap<String, MigrationConfig>);

impl CommandMigrations {
    /// Over the configuration's table.
    pub fn new(migrations: BTreeMap<String, MigrationConfig>) -> Self {
        Self(migrations)
    }
}

#[async_trait]
impl Migrations for CommandMigrations {
    fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    async fn run(&self, name: &str, operation: &str, timeout: Duration) -> Result<String, MigrationError> {
        let migration = self.0.get(name).ok_or_else(|| MigrationError::Unknown(name.to_owned()))?;
        let (program, arguments) =
            migration.command.split_first().ok_or_else(|| MigrationError::Unknown(name.to_owned()))?;
        let limit = timeout.min(Duration::from_secs(migration.timeout_seconds));
        let failed =
            |error: std::io::Error| MigrationError::Failed(format!("{program} cannot be run: {}", error.kind()));
        let mut child = Command::new(program)
            .args(arguments)
            .env("DELIVERYOS_OPERATION", operation)
            .env("DELIVERYOS_MIGRATION", name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Its errors go where the server's own do: they may hold what a receipt must not.
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            // A group of its own: what it started ends with it.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let stdout = child.stdout.take();
        let waited = tokio::time::timeout(limit, async {
            let said = match stdout {
                Some(stdout) => last_line(stdout).await,
                None => String::new(),
            };
            (child.wait().await, said)
        })
        .await;
        match waited {
            Err(_) => {
                if let Some(group) = group
                    && let Err(error) = killpg(group, Signal::SIGKILL)
                {
                    tracing::error!(%error, name, "a migration that took too long could not be ended");
                }
                // Reaped here, so that its number is free only when it is gone.
                let _ = child.wait().await;
                Err(MigrationError::TimedOut(limit.as_secs()))
            }
            Ok((Err(error), _)) => Err(failed(error)),
            Ok((Ok(status), said)) if status.success() => Ok(if said.is_empty() { "done".to_owned() } else { said }),
            Ok((Ok(status), said)) => Err(MigrationError::Failed(if said.is_empty() {
                status.to_string()
            } else {
                format!("{status}: {said}")
            })),
        }
    }
}

async fn last_line(mut output: impl AsyncRead + Unpin) -> String {
    let mut kept: Vec<u8> = Vec::new();
    let mut block = vec![0; 8 * 1024];
    while let Ok(n) = output.read(&mut block).await {
        if n == 0 {
            break;
        }
        kept.extend_from_slice(&block[..n]);
        if kept.len() > MAX_OUTPUT {
            let cut = kept.len() - MAX_OUTPUT / 2;
            kept.drain(..cut);
        }
    }
    let text = String::from_utf8_lossy(&kept);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(MAX_SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migrations(script: &str) -> CommandMigrations {
        let command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        CommandMigrations::new(BTreeMap::from([("undo".to_owned(), MigrationConfig { command, timeout_seconds: 60 })]))
    }

    #[tokio::test]
    async fn commands_run_and_say() {
        let check = async |script: &str, expected: Result<&str, MigrationError>| {
            let said = migrations(script).run("undo", "op-1", Duration::from_secs(20)).await;
            assert_eq!(said, expected.map(str::to_owned), "{script}");
        };
        check("echo one; echo \"two $DELIVERYOS_OPERATION\"; echo", Ok("two op-1")).await;
        check("true", Ok("done")).await;
        check("echo no; exit 3", Err(MigrationError::Failed("exit status: 3: no".into()))).await;
        check("yes | head -c 1000000; echo last", Ok("last")).await;
        let late = migrations("sleep 600").run("undo", "op", Duration::from_millis(50)).await;
        assert_eq!(late, Err(MigrationError::TimedOut(0)));
        let unknown = migrations("true").run("other", "op", Duration::from_secs(1)).await;
        assert_eq!(unknown, Err(MigrationError::Unknown("other".into())));
        assert!(migrations("true").knows("undo") && !migrations("true").knows("other"));
    }
}
