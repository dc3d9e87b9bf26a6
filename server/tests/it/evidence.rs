//! The real executable from a key to a verified image: as a delivery engineer uses it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;

use crate::process::{Running, deliveryos, free, run, until};

/// A directory with an image in a layout, a key, and a policy that asks for its signature and provenance.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
    pub(crate) digest: String,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut bench = Self { directory, digest: String::new() };
        fs::write(bench.path("app"), "#!/bin/sh\necho served\n").unwrap();
        let built = bench.json(&["image", "build", &bench.image("v1"), &bench.path("app"), "--label", "a=b"]);
        bench.digest = built["digest"].as_str().unwrap().to_owned();
        bench.good(&["attest", "keygen", "--out", &bench.path("ci.key")]);
        bench
    }

    pub(crate) fn dir(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    pub(crate) fn image(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.path("images"))
    }

    pub(crate) fn run(&self, args: &[&str]) -> (i32, String, String) {
        run(&self.directory.path().join("data"), args)
    }

    /// Runs it to a good end.
    pub(crate) fn good(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        out
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let out = self.good(&[args, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
    }

    /// Says provenance and a signature of an image, with further arguments.
    pub(crate) fn attest(&self, subject: &str, more: &[&str]) {
        let (key, builder) = (self.path("ci.key"), "https://ci.example/builder");
        let build = ["--builder-id", builder, "--build-type", "https://ci.example/build", "--parameter", "ref=main"];
        self.good(&[&["attest", "build", subject, "--key", &key], &build[..], more].concat());
        self.good(&[&["attest", "sign", subject, "--key", &key], more].concat());
    }

    /// A policy that asks for both; `trust` is further lines at its head, `signer` at its signer's.
    pub(crate) fn policy(&self, name: &str, trust: &str, signer: &str) -> String {
        let text = format!(
            "name = \"test\"\n{trust}\n[signers.ci]\nkey = \"ci.key.pub\"\n{signer}\n[[require]]\ntype = \"slsa-provenance\"\n\
             signers = [\"ci\"]\n[[require]]\nname = \"signed by CI\"\ntype = \"signature\"\nsigners = [\"ci\"]\n"
        );
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }
}

#[test]
fn from_a_key_to_a_verified_image() {
    let bench = Bench::new();
    let image = bench.image("v1");
    let policy = bench.policy("policy.toml", "", "unlogged = true");
    let strict = bench.policy("strict.toml", "", "");
    let check = |args: &[&str], code: i32, expected: &[&str]| {
        let (found, out, err) = bench.run(args);
        assert_eq!(found, code, "{args:?}: {out}{err}");
        for words in expected {
            assert!(format!("{out}{err}").contains(words), "{args:?}: {words:?} is missing in {out}{err}");
        }
    };
    // A key is never written over, and is closed to others.
    check(&["attest", "keygen", "--out", &bench.path("ci.key")], 2, &["cannot be made"]);
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(bench.path("ci.key")).unwrap().permissions().mode() & 0o777, 0o600);
    check(&["verify", &image, "--policy", &policy], 1, &["NOT VERIFIED", "MISSING", "there is no such evidence"]);

    bench.attest(&image, &["--attach"]);
    check(&["verify", &image, "--policy", &policy], 0, &["VERIFIED", "by ci: key ", "NOT logged", "signed by CI"]);
    check(&["verify", &image, "--policy", &strict], 1, &["no entry of a transparency log"]);
    // A copy that asks for proof: all of it, or nothing.
    let (refused, copied) = (format!("oci:{}", bench.path("refused")), format!("oci:{}", bench.path("copied")));
    check(&["promote", &image, &refused, "--policy", &strict], 1, &["NOT VERIFIED", "nothing was copied"]);
    assert!(!Path::new(&bench.path("refused")).exists());
    check(&["promote", &image, &copied, "--policy", &policy], 0, &["VERIFIED", "by ci: key ", "read back and hashed"]);
    check(&["verify", &format!("{copied}:v1"), "--policy", &policy], 0, &["VERIFIED"]);
    let again = bench.json(&["promote", &image, &copied, "--policy", &policy]);
    assert_eq!((&again["decision"], &again["judgement"]["met"]), (&"copied".into(), &true.into()));
    check(&["promote", &image, &copied], 0, &["NOT VERIFIED: no --policy was named"]);
    let fulcio = ["attest", "sign", &image, "--attach", "--fulcio-url", "https://fulcio.example"];
    check(&fulcio, 1, &["keyless", "give --key"]);
    let said = bench.json(&["verify", &image, "--policy", &policy]);
    assert_eq!((&said["met"], said["image"].as_str()), (&true.into(), Some(bench.digest.as_str())));
    assert_eq!(said["requirements"].as_array().unwrap().len(), 2);

    // By digest, with the bundle in a file, attached afterwards; the other kinds of statements too.
    let (key, bundle) = (bench.path("ci.key"), bench.path("bundle.json"));
    fs::write(bench.path("bom"), r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[]}"#).unwrap();
    bench.good(&["attest", "sbom", &bench.digest, "--sbom", &bench.path("bom"), "--key", &key, "--bundle", &bundle]);
    let attach = ["attest", "attach", "--bundle", &bundle, &image];
    assert_eq!(bench.json(&attach)["attached"]["wasThere"], false);
    assert_eq!(bench.json(&attach)["attached"]["wasThere"], true, "the same bundle is attached once");
    fs::write(bench.path("scan"), r#"{"Results":[]}"#).unwrap();
    let times = ["--started", "2026-05-07T12:00:00Z", "--finished", "2026-05-07T12:01:00Z"];
    let vuln = ["attest", "vuln", &image, "--report", &bench.path("scan"), "--scanner", "pkg:generic/trivy"];
    bench.good(&[&vuln[..], &["--scanner-version", "0.60", "--key", &key, "--attach"], &times].concat());
    check(&["verify", &image, "--policy", &policy], 0, &["also     https://cyclonedx.org/bom", "vuln/v1"]);
    let shown = bench.json(&["image", "show", &image]);
    let kinds: Vec<&str> = shown["manifests"].as_array().unwrap().iter().filter_map(|m| m["role"].as_str()).collect();
    assert_eq!(kinds, ["image", "evidence", "evidence", "evidence", "evidence"], "{shown}");
    check(&["image", "show", &image], 0, &["application/vnd.dev.sigstore.bundle.v0.3+json"]);
    // In cosign's layout.
    let manifest = shown["manifests"][1]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let blobs: PathBuf = bench.dir().join("images/blobs/sha256");
    let manifest: Value = serde_json::from_slice(&fs::read(blobs.join(manifest)).unwrap()).unwrap();
    assert_eq!(manifest["artifactType"], manifest["layers"][0]["mediaType"]);
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
    assert_eq!(manifest["subject"]["digest"], bench.digest.as_str());
    assert_eq!(manifest["annotations"]["dev.sigstore.bundle.content"], "dsse-envelope");

    // What is about something else, or nowhere, or nothing.
    bench.good(&["image", "build", &bench.image("v2"), &bench.path("app"), "--path", "app/other"]);
    let other = bench.image("v2");
    check(&["attest", "attach", "--bundle", &bundle, &other], 1, &["is not about"]);
    check(&["attest", "attach", "--bundle", &bench.path("app"), &image], 1, &["not a Sigstore bundle"]);
    check(&["attest", "sign", &bench.path("app"), "--key", &key, "--attach"], 2, &["--attach puts the bundle beside"]);
    check(&["attest", "sign", "nonsense", "--key", &key, "--attach"], 2, &["neither a file"]);
    check(&["verify", &other, "--policy", &policy], 1, &["NOT VERIFIED"]);
    check(&["verify", &bench.image("v9"), "--policy", &policy], 1, &["no tag v9"]);
    check(&["verify", "127.0.0.1:1/app:v1", "--policy", &policy], 3, &["cannot be reached"]);
    check(&["verify", &image, "--policy", &bench.path("none.toml")], 2, &["cannot be read"]);
    check(&["image", "build", "oci:x", &bench.path("app")], 2, &["under a tag"]);
    // A key of somebody else.
    bench.good(&["attest", "keygen", "--out", &bench.path("other.key")]);
    let others = fs::read_to_string(bench.path("policy.toml")).unwrap().replace("ci.key.pub", "other.key.pub");
    fs::write(bench.path("others.toml"), others).unwrap();
    check(&["verify", &image, "--policy", &bench.path("others.toml")], 1, &["MISSING", "signature"]);
    // A bundle whose bytes were changed on the disk is refused by name.
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let changed = fs::read_to_string(blobs.join(layer)).unwrap().replacen("\"payload\"", "\"pay1oad\"", 1);
    fs::write(blobs.join(layer), changed).unwrap();
    check(&["verify", &image, "--policy", &policy], 1, &["MISSING", "differ: they hash to"]);
}

/// A server with its own log of signatures, and a token that may write to it.
pub(crate) struct LogServer {
    server: Running,
    data: PathBuf,
    pub(crate) base: String,
    pub(crate) token: String,
}

impl LogServer {
    pub(crate) fn start(data: &Path) -> Self {
        let [listen] = free();
        let mut command = deliveryos(data);
        command.args(["serve", "--listen", &listen.to_string()]).stderr(Stdio::null());
        let server = Running::start(command);
        until("the local socket", || data.join("admin.sock").exists().then_some(()));
        let (code, out, err) = run(data, &["token", "create", "--role", "operator", "--json"]);
        assert_eq!(code, 0, "{err}");
        let token = serde_json::from_str::<Value>(&out).unwrap()["token"].as_str().unwrap().to_owned();
        let base = format!("http://{listen}");
        until("the pages", || {
            (run(data, &["release", "list", "--server", &base, "--token", &token]).0 == 0).then_some(())
        });
        Self { server, data: data.to_owned(), base, token }
    }
}

impl Drop for LogServer {
    fn drop(&mut self) {
        let _ = self.server.0.kill();
        // The data plane outlives its server: it is ended by itself, and has no versions here.
        run(&self.data, &["splitter", "--stop"]);
    }
}

#[test]
fn our_own_log_of_signatures_needs_no_other_service() {
    let bench = Bench::new();
    let data = bench.dir().join("server");
    let server = LogServer::start(&data);
    let image = bench.image("v1");
    let rekor = format!("{}/rekor", server.base);
    let own = ["--server", &server.base, "--token", &server.token];
    fs::write(bench.path("root.json"), bench.good(&[&["rekor", "trusted-root"], &own[..]].concat())).unwrap();
    let root = bench.path("root.json");
    bench.attest(&image, &[&["--attach", "--rekor", &rekor, "--trusted-root", &root], &own[..]].concat());
    let policy = bench.policy("policy.toml", "trusted-root = \"root.json\"", "");
    let out = bench.good(&["verify", &image, "--policy", &policy]);
    assert!(out.contains("deliveryos.local 0 (proved)") && out.contains("deliveryos.local 1 (proved)"), "{out}");
    // The public instance's authorities do not know this log.
    let public = bench.policy("public.toml", "", "");
    let (code, out, _) = bench.run(&["verify", &image, "--policy", &public]);
    assert!(code == 1 && out.contains("which the trust root does not have"), "{out}");
    // Without a token nothing is logged, and a token goes to its own server only.
    let (key, bundle) = (bench.path("ci.key"), bench.path("b.json"));
    let sign = ["attest", "sign", &bench.digest, "--key", &key, "--bundle", &bundle, "--rekor", &rekor];
    let (code, _, err) = bench.run(&[&sign[..], &["--server", &server.base]].concat());
    assert!(code == 1 && err.contains("401") && err.contains("wants a token"), "{err}");
    let (code, _, err) =
        bench.run(&[&sign[..], &["--server", "http://127.0.0.1:9", "--token", &server.token]].concat());
    assert!(code == 1 && err.contains("401") && err.contains("wants a token"), "{err}");
    assert!(!Path::new(&bundle).exists());

    // The whole log recomputed offline, beside the server; and its trusted root from the disk.
    let (code, out, err) = run(&data, &["rekor", "verify"]);
    assert!(code == 0 && out.contains("2 entries, each noted by a receipt"), "{out}{err}");
    assert_eq!(run(&data, &["rekor", "trusted-root"]).1, fs::read_to_string(&root).unwrap());
    let (code, _, err) = bench.run(&["rekor", "trusted-root"]);
    assert!(code == 2 && err.contains("no server has begun"), "{err}");
    let (code, out, err) = run(&data, &["log", "verify"]);
    assert_eq!(code, 0, "{out}{err}");
}
