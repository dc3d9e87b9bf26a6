//! A real Kubernetes API server asks the real webhook: etcd, kube-apiserver and `deliveryos serve`, each a process of its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use reqwest::{Client, StatusCode, header};
use serde_json::{Value, json};

use crate::{
    admission::World,
    peers::peer,
    process::{Running, deliveryos, free, run, until},
};

/// Login of an administrator of the cluster.
const TOKEN: &str = "an-administrator-of-the-cluster";

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn start(program: &Path, args: &[String]) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An API server over an etcd of its own; no pod ever runs.
struct Cluster {
    base: String,
    client: Client,
    // Before etcd: without it an API server hears no signal for long.
    _server: Process,
    _etcd: Process,
}

impl Cluster {
    /// `None` when a program is not there, which is said.
    async fn start(dir: &Path) -> Option<Self> {
        let (etcd, server): (PathBuf, PathBuf) = peer("etcd").zip(peer("kube-apiserver"))?;
        let [clients, peers, listen] = free();
        let args = |args: &[(&str, String)]| -> Vec<String> {
            args.iter().map(|(name, value)| format!("--{name}={value}")).collect()
        };
        let data = |name: &str| dir.join(name).display().to_string();
        let etcd = Process::start(
            &etcd,
            &args(&[
                ("data-dir", data("etcd")),
                ("unsafe-no-fsync", "true".to_owned()),
                ("listen-client-urls", format!("http://{clients}")),
                ("advertise-client-urls", format!("http://{clients}")),
                ("listen-peer-urls", format!("http://{peers}")),
            ]),
        );
        std::fs::write(dir.join("tokens.csv"), format!("{TOKEN},admin,1,\"system:masters\"\n")).unwrap();
        let key = dir.join("accounts.key");
        let made = Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let server = Process::start(
            &server,
            &args(&[
                ("etcd-servers", format!("http://{clients}")),
                ("cert-dir", data("certificates")),
                ("bind-address", "127.0.0.1".to_owned()),
                ("secure-port", listen.port().to_string()),
                ("service-cluster-ip-range", "10.0.0.0/24".to_owned()),
                ("service-account-issuer", "https://cluster.example".to_owned()),
                ("service-account-key-file", key.display().to_string()),
                ("service-account-signing-key-file", key.display().to_string()),
                ("token-auth-file", data("tokens.csv")),
                ("authorization-mode", "RBAC".to_owned()),
                // No controller makes the accounts that it wants.
                ("disable-admission-plugins", "ServiceAccount".to_owned()),
            ]),
        );
        // Its certificate is its own, and made at its start.
        let client = Client::builder().danger_accept_invalid_certs(true).no_proxy();
        let client = client.timeout(std::time::Duration::from_secs(20)).build().unwrap();
        let cluster = Self { base: format!("https://{listen}"), client, _server: server, _etcd: etcd };
        cluster
            .until("the namespace default", async || {
                let found = cluster.get("/api/v1/namespaces/default").await;
                found.is_some_and(|status| status == StatusCode::OK).then_some(())
            })
            .await;
        Some(cluster)
    }

    async fn until<T>(&self, what: &str, look: impl AsyncFn() -> Option<T>) -> T {
        let poll = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        let limit = std::time::Duration::from_secs(90);
        tokio::time::timeout(limit, poll).await.unwrap_or_else(|_| panic!("{what}: not within {limit:?}"))
    }

    async fn get(&self, path: &str) -> Option<StatusCode> {
        let answer = self.client.get(format!("{}{path}", self.base)).bearer_auth(TOKEN).send().await;
        answer.ok().map(|answer| answer.status())
    }

    async fn post(&self, path: &str, kind: &str, body: String) -> (StatusCode, Value) {
        let sent = self.client.post(format!("{}{path}", self.base)).bearer_auth(TOKEN);
        let answer = sent.header(header::CONTENT_TYPE, kind).body(body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn run(&self, pod: &Value, dry: bool) -> (StatusCode, String) {
        let path = format!("/api/v1/namespaces/default/pods{}", if dry { "?dryRun=All" } else { "" });
        let (status, answer) = self.post(&path, "application/json", pod.to_string()).await;
        (status, answer["message"].as_str().unwrap_or_default().to_owned())
    }
}

fn pod(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "automountServiceAccountToken": false, "containers": [{ "name": "app", "image": image }] },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_api_server_asks_and_does_what_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let Some(cluster) = Cluster::start(dir).await else { return };
    let world = World::new().await;
    let [pages, webhook] = free();
    let tls = dir.join("tls");
    let cli = |args: &[&str]| {
        let (code, out, err) = run(dir, args);
        assert_eq!(code, 0, "{args:?}: {err}");
        out
    };
    cli(&["admit", "certificate", "--out", &tls.display().to_string(), "127.0.0.1"]);
    let config = dir.join("deliveryos.toml");
    let file = |name: &str| tls.join(name).display().to_string();
    let text = format!(
        "listen = \"{pages}\"\n[admission]\nlisten = \"{webhook}\"\ncertificate = \"{}\"\nkey = \"{}\"\npolicies = [\"{}\"]\n",
        file("tls.pem"),
        file("tls.key"),
        world.file.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut serve = deliveryos(dir);
    serve.args(["serve", "--config", &config.display().to_string()]);
    let mut serving = Running::start(serve);
    until("the webhook", || std::net::TcpStream::connect(webhook).ok());
    let asks = cli(&["admit", "webhook", "--url", &format!("https://{webhook}"), "--ca", &file("ca.pem")]);
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let (status, made) = cluster.post(path, "application/yaml", asks).await;
    assert_eq!(status, StatusCode::CREATED, "the cluster takes what `admit webhook` prints: {made}");

    let (good, bad) = (world.by_digest(&world.good), world.by_digest(&world.bad));
    // It takes the cluster a moment to ask.
    let said = cluster
        .until("a refusal", async || {
            let (status, said) = cluster.run(&pod("unsigned", &bad), true).await;
            (status == StatusCode::FORBIDDEN).then_some(said)
        })
        .await;
    assert!(said.contains("denied the request") && said.contains("signature"), "{said}");
    let (status, said) = cluster.run(&pod("unsigned", &bad), false).await;
    assert!(status == StatusCode::FORBIDDEN && said.contains("signature"), "no evidence: {status} {said}");
    let tagged = good.split('@').next().unwrap().to_owned() + ":v1";
    let (status, said) = cluster.run(&pod("tagged", &tagged), false).await;
    assert!(status == StatusCode::FORBIDDEN && said.contains("named by a tag"), "only a tag: {status} {said}");
    let mut hidden = pod("hidden", &good);
    hidden["spec"]["initContainers"] = json!([{ "name": "first", "image": bad }]);
    let (status, said) = cluster.run(&hidden, false).await;
    assert!(status == StatusCode::FORBIDDEN && said.contains("signature"), "an init container: {status} {said}");
    let (status, said) = cluster.run(&pod("signed", &good), false).await;
    assert_eq!(status, StatusCode::CREATED, "its policy is met: {said}");
    let template = json!({ "metadata": { "labels": { "app": "a" } }, "spec": pod("", &bad)["spec"] });
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "unsigned" },
        "spec": { "selector": { "matchLabels": { "app": "a" } }, "template": template },
    });
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let (status, said) = cluster.post(path, "application/json", deployment.to_string()).await;
    assert!(status == StatusCode::FORBIDDEN && said["message"].as_str().unwrap().contains("signature"), "{said}");

    serving.kill();
    let (status, said) = cluster.run(&pod("later", &good), false).await;
    assert!(!status.is_success() && said.contains("failed calling webhook"), "nobody answers: {status} {said}");
    for (name, expected) in
        [("signed", StatusCode::OK), ("unsigned", StatusCode::NOT_FOUND), ("later", StatusCode::NOT_FOUND)]
    {
        let found = cluster.get(&format!("/api/v1/namespaces/default/pods/{name}")).await;
        assert_eq!(found, Some(expected), "{name}");
    }
    let verified: Value = serde_json::from_str(&cli(&["log", "verify", "--json"])).unwrap();
    assert!(verified["checked"].as_u64() >= Some(5), "every decision is in the log: {verified}");
}
