//! Against the real programs of others: cosign, oras, crane, docker-registry, go-containerregistry's registry, Sigstore's JavaScript
//! library, a Rekor v2 server and its client.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use registry::hostile::{Faults, Hostile};
use serde_json::{Value, json};

use crate::{
    evidence::{Bench, LogServer},
    process::{Running, free, until},
};

/// The program on the `PATH`, where `cargo xtask test` puts its peers; loud when it is not there, and an error on CI.
fn peer(name: &str) -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    // Built where there is Go: CI does not ask for them. (A Rekor v2 server is in no distribution.)
    let with_go = ["rekor-server-posix", "rekor-tiles-client", "referrers-registry"];
    let must = !with_go.contains(&name) && std::env::var_os("CI").is_some();
    assert!(found.is_some() || !must, "{name} is required when CI is set: cargo xtask setup");
    if found.is_none() {
        eprintln!("SKIPPED: a test against the real {name}: it is not on the PATH (cargo xtask setup)");
    }
    found
}

/// Runs a peer; whether it ended well, and what it said.
fn ask(program: &Path, dir: &Path, args: &[&str]) -> (bool, String) {
    ask_with(program, dir, "", args)
}

/// With a token for our log of signatures.
fn ask_with(program: &Path, dir: &Path, token: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .env("REKOR_TOKEN", token)
        // cosign keeps its cache and asks for passwords there; nothing of the user's is read.
        .env("HOME", dir)
        .env("TUF_ROOT", dir.join("tuf"))
        .env("COSIGN_PASSWORD", "")
        .env("COSIGN_YES", "true")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

fn good(program: &Path, dir: &Path, args: &[&str]) -> String {
    let (well, said) = ask(program, dir, args);
    assert!(well, "{} {args:?}: {said}", program.display());
    said
}

fn bad(program: &Path, dir: &Path, args: &[&str], expected: &str) {
    let (well, said) = ask(program, dir, args);
    assert!(!well && said.contains(expected), "{} {args:?}: {expected:?}: {said}", program.display());
}

/// An image with bundles in files, logged in a server of ours, whose trusted root lies beside them.
struct Signed {
    bench: Bench,
    _server: LogServer,
}

impl Signed {
    fn new() -> Self {
        let bench = Bench::new();
        let server = LogServer::start(&bench.dir().join("server"));
        let own = ["--server", &server.base, "--token", &server.token];
        fs::write(bench.path("root.json"), bench.good(&[&["rekor", "trusted-root"], &own[..]].concat())).unwrap();
        let (rekor, root, key) = (format!("{}/rekor", server.base), bench.path("root.json"), bench.path("ci.key"));
        let log = [&["--rekor", &rekor, "--trusted-root", &root, "--key", &key], &own[..]].concat();
        let build = ["--builder-id", "https://ci.example/builder", "--build-type", "https://ci.example/build"];
        let (provenance, file) = (bench.path("provenance.json"), bench.path("file.json"));
        bench.good(&[&["attest", "build", &bench.digest, "--bundle", &provenance], &build[..], &log].concat());
        bench.good(&[&["attest", "sign", &bench.path("app"), "--bundle", &file], &log[..]].concat());
        Self { bench, _server: server }
    }

    /// Puts the image and evidence, logged, to a registry.
    fn push(&self, host: &str) -> String {
        let (bench, server) = (&self.bench, &self._server);
        let own = ["--server", &server.base, "--token", &server.token];
        let (rekor, root) = (format!("{}/rekor", server.base), bench.path("root.json"));
        let image = format!("{host}/shop/app:v1");
        bench.good(&["promote", &bench.image("v1"), &image]);
        bench.attest(&image, &[&["--attach", "--rekor", &rekor, "--trusted-root", &root], &own[..]].concat());
        format!("{host}/shop/app@{}", bench.digest)
    }
}

#[test]
fn cosign_verifies_what_we_sign_and_log() {
    let Some(cosign) = peer("cosign") else { return };
    let signed = Signed::new();
    let (bench, dir) = (&signed.bench, signed.bench.dir());
    let hex = bench.digest.strip_prefix("sha256:").unwrap();
    let attestation = |bundle: &str, hex: &str, kind: &str| {
        let key = ["--key", "ci.key.pub", "--trusted-root", "root.json", "--bundle", bundle];
        let what = ["--type", kind, "--digest", hex, "--digestAlg", "sha256"];
        [&["verify-blob-attestation"], &key[..], &what].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let args = |all: &[String]| all.iter().map(String::as_str).map(str::to_owned).collect::<Vec<_>>();
    let run = |all: Vec<String>| {
        let all = args(&all);
        ask(&cosign, dir, &all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (well, said) = run(attestation("provenance.json", hex, "slsaprovenance1"));
    assert!(well, "{said}");
    let (well, said) = run(attestation("provenance.json", &"0".repeat(64), "slsaprovenance1"));
    assert!(!well, "another digest: {said}");
    let (well, said) = run(attestation("provenance.json", hex, "cyclonedx"));
    assert!(!well, "another type: {said}");
    let blob = ["verify-blob", "--key", "ci.key.pub", "--trusted-root", "root.json", "--bundle", "file.json", "app"];
    good(&cosign, dir, &blob);
    // A checkpoint that the log's key has not signed.
    let forged = fs::read_to_string(bench.path("file.json")).unwrap().replacen("\\n2\\n", "\\n3\\n", 1);
    fs::write(bench.path("forged.json"), forged).unwrap();
    let forged =
        ["verify-blob", "--key", "ci.key.pub", "--trusted-root", "root.json", "--bundle", "forged.json", "app"];
    bad(&cosign, dir, &forged, "");
}

#[test]
fn sigstores_javascript_verifies_what_we_sign_and_log() {
    let end2end = Path::new(env!("CARGO_MANIFEST_DIR")).join("../end2end");
    let Some(node) = peer("node") else { return };
    if !end2end.join("node_modules/@sigstore/verify").is_dir() {
        assert!(std::env::var_os("CI").is_none(), "npm ci in end2end is required when CI is set");
        eprintln!("SKIPPED: a test against npm's @sigstore/verify: it is not installed (npm ci in end2end)");
        return;
    }
    let signed = Signed::new();
    let bench = &signed.bench;
    let verify = |bundle: &str, key: &str, file: Option<&str>| {
        let [bundle, root, key] = [bundle, "root.json", key].map(|name| bench.path(name));
        let mut args = vec!["sigstore-verify.mjs".to_owned(), bundle, root, key];
        args.extend(file.map(|name| bench.path(name)));
        ask(&node, &end2end, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (well, said) = verify("provenance.json", "ci.key.pub", None);
    assert!(well && said.contains(bench.digest.strip_prefix("sha256:").unwrap()), "{said}");
    let (well, said) = verify("file.json", "ci.key.pub", Some("app"));
    assert!(well, "{said}");
    assert!(!verify("file.json", "ci.key.pub", Some("root.json")).0, "another file");
    bench.good(&["attest", "keygen", "--out", &bench.path("other.key")]);
    assert!(!verify("provenance.json", "other.key.pub", None).0, "another key");
}

/// A real registry, which has no referrers API.
fn docker_registry(dir: &Path) -> Option<(Running, String)> {
    let program = peer("docker-registry")?;
    let [address] = free();
    let config = dir.join("registry.yml");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n",
        dir.join("registry").display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program);
    command.arg("serve").arg(&config).stderr(Stdio::null());
    let running = Running::start(command);
    until("docker-registry", || std::net::TcpStream::connect(address).ok());
    Some((running, address.to_string()))
}

/// A registry.
#[derive(Clone, Copy)]
struct Kind {
    /// It has the referrers API.
    has_api: bool,
    /// The type as which it lists a bundle.
    lists_as: &'static str,
    /// It takes blobs in several pieces, as cosign sends them.
    takes_pieces: bool,
}

/// What others see of our evidence in a registry, and what we see of theirs.
fn in_a_registry(signed: &Signed, host: &str, Kind { has_api, lists_as, takes_pieces }: Kind) {
    let (bench, dir) = (&signed.bench, signed.bench.dir());
    let image = signed.push(host);
    let policy = bench.policy("policy.toml", "trusted-root = \"root.json\"", "");
    bench.good(&["verify", &image, "--policy", &policy]);
    if let Some(oras) = peer("oras") {
        let found = good(&oras, dir, &["discover", "--plain-http", "--format", "json", &image]);
        let found: Value = serde_json::from_str(&found).unwrap();
        let listed = found["referrers"].as_array().or_else(|| found["manifests"].as_array()).unwrap();
        assert_eq!(listed.len(), 2, "{found}");
        let kinds = listed.iter().filter_map(|one| one["artifactType"].as_str());
        assert!(kinds.into_iter().all(|kind| kind == lists_as), "{found}");
    }
    if let Some(crane) = peer("crane") {
        let tag = format!("{host}/shop/app:{}", bench.digest.replace(':', "-"));
        let (well, said) = ask(&crane, dir, &["manifest", "--insecure", &tag]);
        assert_eq!(well, !has_api, "the tag stands in for the API, and only for it: {said}");
        if !has_api {
            let list: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(list["manifests"].as_array().unwrap().len(), 2);
            let one = format!("{host}/shop/app@{}", list["manifests"][0]["digest"].as_str().unwrap());
            assert!(good(&crane, dir, &["manifest", "--insecure", &one]).contains(&bench.digest));
        }
    }
    let Some(cosign) = peer("cosign") else { return };
    let http = "--allow-http-registry";
    let ours = ["--key", "ci.key.pub", "--trusted-root", "root.json", http, &image];
    good(&cosign, dir, &[&["verify-attestation", "--type", "slsaprovenance1"], &ours[..]].concat());
    good(&cosign, dir, &[&["verify"], &ours[..]].concat());
    bad(&cosign, dir, &[&["verify-attestation", "--type", "cyclonedx"], &ours[..]].concat(), "");

    if !takes_pieces {
        return;
    }
    // What cosign signs with a key of its own, logged nowhere.
    good(&cosign, dir, &["generate-key-pair", "--output-key-prefix", "theirs"]);
    good(&cosign, dir, &["signing-config", "create", "--out", "signing.json"]);
    fs::write(bench.path("bom.json"), r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[]}"#).unwrap();
    let theirs = ["--key", "theirs.key", "--signing-config", "signing.json", http, &image];
    good(&cosign, dir, &[&["sign"], &theirs[..]].concat());
    good(&cosign, dir, &[&["attest", "--type", "cyclonedx", "--predicate", "bom.json"], &theirs[..]].concat());
    let text = "[signers.them]\nkey = \"theirs.pub\"\nunlogged = true\n[[require]]\ntype = \"cyclonedx\"\nsigners = [\"them\"]\n\
                [[require]]\ntype = \"signature\"\nsigners = [\"them\"]\n";
    fs::write(bench.path("theirs.toml"), text).unwrap();
    let out = bench.good(&["verify", &image, "--policy", &bench.path("theirs.toml")]);
    assert!(out.contains("VERIFIED") && out.contains("https://cyclonedx.org/bom"), "{out}");
    // And none of it is lost on the way to a folder.
    bench.good(&["promote", &image, &format!("oci:{}:v1", bench.path("copied"))]);
    let copied = format!("oci:{}:v1", bench.path("copied"));
    bench.good(&["verify", &copied, "--policy", &policy]);
    bench.good(&["verify", &copied, "--policy", &bench.path("theirs.toml")]);
}

#[test]
fn evidence_in_a_registry_without_the_referrers_api() {
    let signed = Signed::new();
    let Some((_running, host)) = docker_registry(signed.bench.dir()) else { return };
    let kind = Kind { has_api: false, lists_as: registry::bundles::BUNDLE_V03, takes_pieces: true };
    in_a_registry(&signed, &host, kind);
}

/// go-containerregistry's, which lists a bundle by the type of its configuration.
#[test]
fn evidence_in_a_real_registry_with_the_referrers_api() {
    let Some(server) = crate::peers::referrers_registry() else { return };
    let kind = Kind { has_api: true, lists_as: registry::EMPTY_CONFIG, takes_pieces: true };
    in_a_registry(&Signed::new(), &server.host, kind);
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_in_a_registry_with_the_referrers_api() {
    // One page: cosign reads no second one (go-containerregistry#2446), and would miss evidence.
    let server = Hostile::start(Faults::default()).await;
    let host = server.host();
    let kind = Kind { has_api: true, lists_as: registry::bundles::BUNDLE_V03, takes_pieces: false };
    tokio::task::spawn_blocking(move || in_a_registry(&Signed::new(), &host, kind)).await.unwrap();
}

#[test]
fn files_that_cosign_signs_verify_here() {
    let Some(cosign) = peer("cosign") else { return };
    let bench = Bench::new();
    let dir = bench.dir();
    good(&cosign, dir, &["generate-key-pair", "--output-key-prefix", "theirs"]);
    good(&cosign, dir, &["signing-config", "create", "--out", "signing.json"]);
    let key = ["--key", "theirs.key", "--signing-config", "signing.json"];
    good(&cosign, dir, &[&["sign-blob", "--bundle", "file.json"], &key[..], &["app"]].concat());
    fs::write(bench.path("predicate.json"), json!({ "a": 1 }).to_string()).unwrap();
    let attest = ["attest-blob", "--bundle", "statement.json", "--predicate", "predicate.json", "--type", "custom"];
    good(&cosign, dir, &[&attest[..], &key, &["app"]].concat());
    for bundle in ["file.json", "statement.json"] {
        let (bundle, theirs, app) = (bench.path(bundle), bench.path("theirs.pub"), bench.path("app"));
        let verify = ["verify-bundle", "--bundle", &bundle, "--key", &theirs];
        bench.good(&[&verify[..], &["--insecure-ignore-tlog", &app]].concat());
        let (code, _, err) = bench.run(&[&verify[..], &[&app]].concat());
        assert!(code == 1 && err.contains("no entry of a transparency log"), "{err}");
        let key = bench.path("theirs.key");
        let (code, _, err) = bench.run(&[&verify[..], &["--insecure-ignore-tlog", &key]].concat());
        assert!(code == 1, "another file: {err}");
    }
}

/// The other way round: a real Rekor v2 server takes what we sign, and its answer verifies here and in cosign.
#[test]
fn a_real_rekor_takes_what_we_sign() {
    let (Some(rekor), Some(cosign)) = (peer("rekor-server-posix"), peer("cosign")) else { return };
    let Some(openssl) = peer("openssl") else { return };
    let bench = Bench::new();
    let dir = bench.dir();
    good(&openssl, dir, &["genpkey", "-algorithm", "ed25519", "-out", "rekor.pem"]);
    good(&openssl, dir, &["pkey", "-in", "rekor.pem", "-pubout", "-out", "rekor.pub"]);
    let ports = free::<3>().map(|address| address.port().to_string());
    fs::create_dir(bench.path("tiles")).unwrap();
    let mut command = Command::new(rekor);
    command.args(["serve", "--storage-dir", &bench.path("tiles"), "--signer-filepath", &bench.path("rekor.pem")]);
    command.args(["--hostname", "rekor.example", "--http-port", &ports[0], "--grpc-port", &ports[1]]);
    command.args(["--http-metrics-port", &ports[2], "--checkpoint-interval", "1s", "--http-address", "127.0.0.1"]);
    command.stderr(Stdio::null());
    let _running = Running::start(command);
    until("the Rekor server", || std::net::TcpStream::connect(format!("127.0.0.1:{}", ports[0])).ok());
    let log = "url=https://rekor.example,public-key=rekor.pub,start-time=2024-01-01T00:00:00Z,origin=rekor.example";
    good(&cosign, dir, &["trusted-root", "create", "--rekor", log, "--out", "root.json"]);
    let (url, key) = (format!("http://127.0.0.1:{}", ports[0]), bench.path("ci.key"));
    let (app, bundle, root) = (bench.path("app"), bench.path("b.json"), bench.path("root.json"));
    let sign = ["attest", "sign", &app, "--key", &key, "--rekor", &url, "--trusted-root", &root, "--bundle", &bundle];
    // It listens before its log is ready.
    until("its log", || (bench.run(&sign).0 == 0).then_some(()));
    let verify = ["verify-bundle", "--bundle", &bundle, "--key", &bench.path("ci.key.pub"), "--trusted-root", &root];
    let out = bench.good(&[&verify[..], &[&app]].concat());
    // A try that came before the log was ready may have an entry already.
    let logged = out.lines().map(str::trim).find(|line| line.starts_with("logged     https://rekor.example at "));
    assert!(logged.is_some_and(|line| line.ends_with("(proved)")), "{out}");
    let theirs = ["verify-blob", "--key", "ci.key.pub", "--trusted-root", "root.json", "--bundle", "b.json", "app"];
    good(&cosign, dir, &theirs);
}

/// Our log by the client packages of rekor-tiles: they write to it, verify what it answers, and read it by its tiles.
#[test]
fn rekors_own_client_takes_our_log_for_a_rekor() {
    let Some(client) = peer("rekor-tiles-client") else { return };
    let signed = Signed::new();
    let (bench, dir, server) = (&signed.bench, signed.bench.dir(), &signed._server);
    let rekor = format!("{}/rekor", server.base);
    let with = |token: &str, args: &[&str]| ask_with(&client, dir, token, args);
    let verify = |root: &str, entry: &str| with("", &["verify", root, entry]);
    // What we logged, out of its bundles.
    for (index, bundle) in [(0, "provenance.json"), (1, "file.json")] {
        let bundle: Value = serde_json::from_slice(&fs::read(bench.path(bundle)).unwrap()).unwrap();
        fs::write(bench.path("ours.json"), bundle["verificationMaterial"]["tlogEntries"][0].to_string()).unwrap();
        assert_eq!(verify("root.json", "ours.json"), (true, format!("verified {index}\n")));
    }
    // What it logs here. Each time with another key, so that each is an entry.
    let mut answer = String::new();
    for _ in 0..5 {
        let (well, said) = with(&server.token, &["add", &rekor, "root.json", "app"]);
        assert!(well, "{said}");
        answer = said;
    }
    let entry: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(entry["logIndex"], "6");
    fs::write(bench.path("theirs.json"), &answer).unwrap();
    assert_eq!(verify("root.json", "theirs.json"), (true, "verified 6\n".to_owned()));
    assert_eq!(with(&server.token, &["read", &rekor, "root.json"]), (true, "read and proved 7\n".to_owned()));
    let (well, said) = with(&server.token, &["read", &format!("{rekor}/api/v2"), "root.json"]);
    assert!(well, "{said}");

    // What it refuses, so that its yes says something.
    let refused = |said: (bool, String), expected: &str| assert!(!said.0 && said.1.contains(expected), "{said:?}");
    refused(with("", &["add", &rekor, "root.json", "app"]), "401");
    let forge = |change: &dyn Fn(&mut Value)| {
        let mut forged = entry.clone();
        change(&mut forged);
        fs::write(bench.path("forged.json"), forged.to_string()).unwrap();
        verify("root.json", "forged.json")
    };
    let other_checkpoint = forge(&|entry| {
        let text = entry["inclusionProof"]["checkpoint"]["envelope"].as_str().unwrap().replacen("\n7\n", "\n8\n", 1);
        entry["inclusionProof"]["checkpoint"]["envelope"] = text.into();
    });
    refused(other_checkpoint, "checkpoint signature");
    refused(forge(&|entry| entry["logIndex"] = "5".into()), "inclusion");
    refused(forge(&|entry| entry["inclusionProof"]["hashes"] = json!([])), "inclusion");
    let root = fs::read_to_string(bench.path("root.json")).unwrap().replace("https://rekor-", "https://another-");
    fs::write(bench.path("another.json"), root).unwrap();
    refused(verify("another.json", "theirs.json"), "another id");

    // What it wrote verifies here as a bundle, and is noted by receipts.
    let body = STANDARD.decode(entry["canonicalizedBody"].as_str().unwrap()).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let spec = &body["spec"]["hashedRekordV002"];
    let key = spec["signature"]["verifier"]["publicKey"]["rawBytes"].as_str().unwrap();
    fs::write(bench.path("theirs.pub"), format!("-----BEGIN PUBLIC KEY-----\n{key}\n-----END PUBLIC KEY-----\n"))
        .unwrap();
    let bundle = json!({
        "mediaType": registry::bundles::BUNDLE_V03,
        "verificationMaterial": { "publicKey": { "hint": "" }, "tlogEntries": [entry] },
        "messageSignature": { "messageDigest": spec["data"], "signature": spec["signature"]["content"] },
    });
    fs::write(bench.path("bundle.json"), bundle.to_string()).unwrap();
    let [bundle, key, root, app] = ["bundle.json", "theirs.pub", "root.json", "app"].map(|name| bench.path(name));
    let verify = ["verify-bundle", "--bundle", &bundle, "--key", &key, "--trusted-root", &root, &app];
    let out = bench.good(&verify);
    assert!(out.contains("at 6 (proved)"), "{out}");
    let (code, out, err) = crate::process::run(&dir.join("server"), &["rekor", "verify"]);
    assert!(code == 0 && out.contains("7 entries, each noted by a receipt"), "{out}{err}");
}
