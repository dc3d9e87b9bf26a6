//! What `docker login`, `podman login` and credential helpers know.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{Error, limits};

/// Where credentials come from. Found when a registry asks, not before.
#[derive(Clone, Default)]
pub struct Credentials {
    files: Vec<PathBuf>,
    fixed: Option<Login>,
}

/// One host's credentials. `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token.
    Identity(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({} files)", self.files.len())
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    identitytoken: Option<String>,
    username: Option<String>,
    password: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    username: String,
    secret: String,
}

impl Credentials {
    /// The usual files: `$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json` (or `~/.docker/config.json`), podman's.
    pub fn from_environment() -> Self {
        let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let docker =
            var("DOCKER_CONFIG").or_else(|| Some(var("HOME")?.join(".docker"))).map(|dir| dir.join("config.json"));
        let podman = var("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
        Self { files: [var("REGISTRY_AUTH_FILE"), docker, podman].into_iter().flatten().collect(), fixed: None }
    }

    /// These files, the first that knows a host wins.
    pub fn from_files(files: Vec<PathBuf>) -> Self {
        Self { files, fixed: None }
    }

    /// This name and password, for every host.
    pub fn password(user: &str, password: &str) -> Self {
        Self {
            files: Vec::new(),
            fixed: Some(Login::Password { user: user.to_owned(), password: password.to_owned() }),
        }
    }

    pub(crate) async fn find(&self, host: &str) -> Result<Option<Login>, Error> {
        if let Some(login) = &self.fixed {
            return Ok(Some(login.clone()));
        }
        for path in &self.files {
            let text = match tokio::fs::File::open(path).await {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(Error::Disk { path: path.display().to_string(), source }),
                Ok(file) => {
                    let mut text = Vec::new();
                    let read = file.take(limits::CREDENTIAL_FILE_BYTES + 1).read_to_end(&mut text).await;
                    read.map_err(|source| Error::Disk { path: path.display().to_string(), source })?;
                    text
                }
            };
            let wrong =
                |why: &str| Error::Credentials { host: host.to_owned(), why: format!("{}: {why}", path.display()) };
            if text.len() as u64 > limits::CREDENTIAL_FILE_BYTES {
                return Err(wrong("larger than 1 MiB"));
            }
            // The parser's message could quote a secret.
            let file: File =
                serde_json::from_slice(&text).map_err(|_| wrong("it is not the JSON that docker login writes"))?;
            if let Some(login) = file.login(host, &wrong).await? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }
}

impl File {
    async fn login(&self, host: &str, wrong: &(dyn Fn(&str) -> Error + Sync)) -> Result<Option<Login>, Error> {
        if let Some(helper) = self.cred_helpers.get(host) {
            return ask_helper(helper, host).await;
        }
        let entry = self.auths.iter().find(|(key, _)| names(key, host)).map(|(_, entry)| entry);
        if let Some(entry) = entry {
            if let Some(token) = entry.identitytoken.as_ref().filter(|t| !t.is_empty()) {
                return Ok(Some(Login::Identity(token.clone())));
            }
            if let Some(auth) = entry.auth.as_ref().filter(|a| !a.is_empty()) {
                let bytes = STANDARD.decode(auth).map_err(|_| wrong("auth is not base64"))?;
                let text = String::from_utf8(bytes).map_err(|_| wrong("auth is not text"))?;
                let (user, password) = text.split_once(':').ok_or_else(|| wrong("auth has no colon"))?;
                return Ok(Some(Login::Password { user: user.to_owned(), password: password.to_owned() }));
            }
            if let (Some(user), Some(password)) = (&entry.username, &entry.password) {
                return Ok(Some(Login::Password { user: user.clone(), password: password.clone() }));
            }
        }
        match &self.creds_store {
            Some(store) => ask_helper(store, if host == "docker.io" { HUB } else { host }).await,
            None => Ok(None),
        }
    }
}

/// Docker Hub's key, from the time of its first version.
const HUB: &str = "https://index.docker.io/v1/";

fn names(key: &str, host: &str) -> bool {
    let bare = key.trim_start_matches("https://").trim_start_matches("http://");
    bare.split('/').next() == Some(host) || (host == "docker.io" && key == HUB)
}

/// `docker-credential-NAME get`: the host on stdin, JSON on stdout.
async fn ask_helper(name: &str, host: &str) -> Result<Option<Login>, Error> {
    let wrong = |why: String| Error::Credentials { host: host.to_owned(), why };
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        return Err(wrong("the name of a credential helper is made of letters, digits, - and _".to_owned()));
    }
    let program = format!("docker-credential-{name}");
    let mut child = tokio::process::Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| wrong(format!("{program} cannot be run: {e}")))?;
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that reads nothing says no by its exit code.
            let _ = stdin.write_all(host.as_bytes()).await;
        }
        let mut text = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(limits::ANSWER_BYTES).read_to_end(&mut text).await?;
        }
        Ok::<_, std::io::Error>((child.wait().await?, text))
    };
    let (status, text) = tokio::time::timeout(limits::HELPER_TIME, talk)
        .await
        .map_err(|_| wrong(format!("{program} gave no answer in {} s", limits::HELPER_TIME.as_secs())))?
        .map_err(|e| wrong(format!("{program}: {e}")))?;
    if !status.success() {
        // This is how helpers say that they know nothing of a host; being nobody may still be enough.
        return Ok(None);
    }
    let helped: Helped = serde_json::from_slice(&text).map_err(|_| wrong(format!("{program} gave no credentials")))?;
    Ok(Some(match helped.username.as_str() {
        "<token>" => Login::Identity(helped.secret),
        _ => Login::Password { user: helped.username, password: helped.secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(text: &str, host: &str) -> Result<Option<Login>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        Credentials::from_files(vec![dir.path().join("none"), path]).find(host).await
    }

    #[tokio::test]
    async fn files() {
        let password =
            |user: &str, password: &str| Some(Login::Password { user: user.into(), password: password.into() });
        let text = format!(
            r#"{{"auths":{{"a.b:5000":{{"auth":"{}"}},"https://c.d/v2/":{{"identitytoken":"t"}},"https://index.docker.io/v1/":{{"username":"u","password":"p"}},"e.f":{{}}}}}}"#,
            STANDARD.encode("me:se:cret")
        );
        assert_eq!(found(&text, "a.b:5000").await.unwrap(), password("me", "se:cret"));
        assert_eq!(found(&text, "c.d").await.unwrap(), Some(Login::Identity("t".into())));
        assert_eq!(found(&text, "docker.io").await.unwrap(), password("u", "p"));
        assert_eq!(found(&text, "e.f").await.unwrap(), None);
        assert_eq!(found(&text, "x.y").await.unwrap(), None);
        let broken = found(r#"{"auths":{"a.b":{"auth":"SECRET!"}}}"#, "a.b").await.unwrap_err().to_string();
        assert!(broken.contains("base64") && !broken.contains("SECRET"), "{broken}");
        let broken = found(r#"{"auths":"SECRET"}"#, "a.b").await.unwrap_err().to_string();
        assert!(!broken.contains("SECRET"), "{broken}");
        assert!(found(r#"{"credHelpers":{"a.b":"../../bin/sh"}}"#, "a.b").await.is_err());
        assert!(found(r#"{"credsStore":"surely-not-installed"}"#, "a.b").await.is_err());
    }

    /// In the way of docker's helpers: what was asked comes on the command line and stdin.
    const HELPER: &str = r#"#!/bin/sh
read -r host
case "$1 $host" in
"get a.b:5000") echo '{"ServerURL":"a.b:5000","Username":"ann","Secret":"se:cret"}' ;;
"get https://index.docker.io/v1/") echo '{"ServerURL":"https://index.docker.io/v1/","Username":"<token>","Secret":"t"}' ;;
"get broken.example") echo 'SECRET' ;;
*) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"#;
    const WITH_HELPER: &str = "DELIVERYOS_TEST_WITH_A_CREDENTIAL_HELPER";

    /// With a helper on the `PATH` of a process of its own, because this one's is everybody's.
    #[test]
    fn a_helper_on_the_path() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let helper = dir.path().join("docker-credential-fake");
        std::fs::write(&helper, HELPER).unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        let own = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(dir.path().to_owned()).chain(std::env::split_paths(&own)));
        let ended = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "remote::credentials::tests::what_a_helper_says", "--nocapture"])
            .env("PATH", path.unwrap())
            .env(WITH_HELPER, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stdout);
        assert!(
            ended.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&ended.stderr)
        );
    }

    #[tokio::test]
    async fn what_a_helper_says() {
        if std::env::var_os(WITH_HELPER).is_none() {
            return; // Started again by `a_helper_on_the_path`.
        }
        let ann = Login::Password { user: "ann".into(), password: "se:cret".into() };
        let of_one = r#"{"credHelpers":{"a.b:5000":"fake"},"auths":{"a.b:5000":{"username":"u","password":"p"}}}"#;
        assert_eq!(found(of_one, "a.b:5000").await.unwrap(), Some(ann.clone()), "a host's own helper comes first");
        let of_all = r#"{"credsStore":"fake","auths":{"c.d":{"username":"u","password":"p"},"a.b:5000":{}}}"#;
        assert_eq!(
            found(of_all, "a.b:5000").await.unwrap(),
            Some(ann),
            "docker leaves an empty entry beside its helper"
        );
        assert_eq!(found(of_all, "docker.io").await.unwrap(), Some(Login::Identity("t".into())));
        let own = Login::Password { user: "u".into(), password: "p".into() };
        assert_eq!(found(of_all, "c.d").await.unwrap(), Some(own), "what is in the file needs no helper");
        assert_eq!(found(of_all, "x.y").await.unwrap(), None, "a helper that knows nothing of a host");
        let broken = found(of_all, "broken.example").await.unwrap_err().to_string();
        assert!(
            broken.contains("docker-credential-fake gave no credentials") && !broken.contains("SECRET"),
            "{broken}"
        );
    }
}
