//! The real executable: what it says when something is in the way, and with which code it ends.

use std::{fs, net::TcpListener, process::Stdio};

use receipt_log::Log as _;

use crate::process::{Running, deliveryos, free, run, until};

#[test]
fn what_is_in_the_way_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let data = directory.path().join("data");
    let write = |name: &str, text: &str| {
        fs::write(directory.path().join(name), text).unwrap();
        path(name)
    };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let unknown = write("unknown.toml", "listen = \"127.0.0.1:0\"\nlissen = 1\n");
    let broken = write("broken.toml", "[services\n");
    let missing_program = write(
        "program.toml",
        "listen = \"127.0.0.1:0\"\n[services.a]\nlisten = [\"127.0.0.1:0\"]\nstable = \"v1\"\n[services.a.versions.v1]\ncommand = [\"/no/such/program\"]\n",
    );
    let taken_traffic = write(
        "traffic.toml",
        &format!(
            "listen = \"127.0.0.1:0\"\n[services.a]\nlisten = [\"{taken}\"]\nstable = \"v1\"\n[services.a.versions.v1]\ncommand = [\"/bin/cat\"]\n"
        ),
    );
    let huge = write("huge.yaml", &"x".repeat(2 * 1024 * 1024));
    let bad =
        write("bad.yaml", "kind: Rollout\napiVersion: argoproj.io/v1alpha1\nspec: {strategy: {canary: {stepz: []}}}\n");
    let not_yaml = write("not.yaml", "a: [\n");
    let garbage = write("garbage", "not a receipt");
    let vkey = "test.example/log+5d7c5e0e+AVn3Zb3Ydm0AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let check = |args: &[&str], code: i32, expected: &[&str]| {
        let (found, out, err) = run(&data, args);
        let said = format!("{out}{err}");
        assert_eq!(found, code, "{args:?}: {said}");
        for words in expected {
            assert!(said.contains(words), "{args:?}: {words:?} is missing in {said}");
        }
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    };
    check(&["serve", "--listen", &taken], 2, &["cannot listen on", &taken, "in use by another program", "--listen"]);
    check(&["demo", "--listen", "127.0.0.1:0", "--traffic", &taken], 2, &["cannot listen on", "--traffic"]);
    let [traffic] = free().map(|address| address.to_string());
    check(&["demo", "--listen", &taken, "--traffic", &traffic], 2, &["cannot listen on", &taken, "--listen"]);
    assert!(!data.exists(), "an address is looked at before anything is made");
    let full = directory.path().join("full");
    fs::create_dir_all(full.join("images")).unwrap();
    std::os::unix::fs::symlink("/dev/full", full.join("images/demo.pub")).unwrap();
    let demo = ["demo", "--listen", "127.0.0.1:0", "--traffic", &traffic, "--data-dir", &path("full")];
    check(&demo, 3, &["full/images/demo.pub cannot be written", "No space left", "make room"]);
    check(&["serve", "--config", &unknown], 2, &["unknown.toml", "line 2, column 1", "unknown field `lissen`"]);
    check(&["serve", "--config", &broken], 2, &["line 1"]);
    check(&["serve", "--config", &path("none.toml")], 2, &["cannot be read"]);
    check(&["serve", "--config", &missing_program], 2, &["services.a.versions.v1", "/no/such/program", "not found"]);
    let place = ["cannot listen on", taken.as_str(), "the traffic of a", "listen of [services.a]"];
    check(&["serve", "--config", &taken_traffic], 2, &place);
    check(&["recipe", "lint", &path("none.yaml")], 2, &["none.yaml cannot be read"]);
    check(&["recipe", "lint", &huge], 2, &["larger than"]);
    check(&["recipe", "lint", &bad], 1, &["stepz"]);
    check(&["recipe", "lint", &not_yaml], 1, &["not.yaml:"]);
    check(&["recipe", "plan", &bad, "--json"], 1, &["\"clean\":false"]);
    check(&["receipt", "verify", &garbage, "--vkey", "nonsense"], 2, &["--vkey"]);
    check(&["receipt", "verify", &path("none"), "--vkey", vkey], 2, &[]);
    check(&["release", "list", "--server", &format!("http://{}", free::<1>()[0])], 3, &["cannot be reached"]);
    check(&["release", "list", "--server", "ftp://x"], 2, &["--server"]);
    let (out, empty) = (path("out"), path("empty"));
    for verb in [
        &["log", "verify"][..],
        &["log", "export", &out],
        &["rekor", "verify"],
        &["token", "create", "--role", "viewer"],
    ] {
        let here = [verb, &["--data-dir", &empty]].concat();
        check(&here, 2, &["there is no deliveryos database in", "empty: name the data directory", "--data-dir"]);
    }
    assert!(!directory.path().join("empty").exists(), "nothing is made where nothing is");
    check(&["serve", "--data-dir", "/proc/deliveryos"], 3, &["/proc/deliveryos cannot be used"]);
    check(&["nonsense"], 2, &["unrecognized subcommand"]);
    let (code, out, _) = run(&data, &["completions", "bash"]);
    assert!(code == 0 && out.contains("_deliveryos"));
}

/// The demo's own log holds what no release can be carried on from: that is said, at once, and not that its service is silent.
#[tokio::test]
async fn a_demo_on_a_log_that_it_cannot_read_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_owned();
    let [listen, traffic] = free().map(|address| address.to_string());
    let config = server::config::Config { listen: "127.0.0.1:0".parse().unwrap(), ..Default::default() };
    let listener = server::compose::listen(&config).await.unwrap();
    let opened = server::compose::open(listener, data.clone(), config, None).await.unwrap();
    let payload = receipts::Payload::new(
        model::Kind::CanaryStarted,
        model::Timestamp::from_millis(1),
        model::Actor::controller(),
        &serde_json::json!({ "of": "another program" }),
    );
    let payload = payload.unwrap().release("checkout-1".parse().unwrap());
    opened.log.append(receipt_log::Draft { key: "a".to_owned(), payload }).await.unwrap();
    opened.log.drain().await;
    opened.store.close().await.unwrap();
    drop(opened);
    let (code, out, err) =
        tokio::task::spawn_blocking(move || run(&data, &["demo", "--listen", &listen, "--traffic", &traffic]))
            .await
            .unwrap();
    assert_eq!(code, 1, "{out}{err}");
    for words in ["the demo cannot go on from its log in", "checkout", "log verify --data-dir", "mv "] {
        assert!(err.contains(words), "{words:?} is missing in {err}");
    }
    assert!(!out.contains("/login"), "no link to pages that end: {out}");
    let left = || run(directory.path(), &["splitter", "--stop"]);
    until("its splitter to be gone", || left().2.contains("no splitter runs").then_some(()));
}

#[test]
fn no_splitter_to_end_is_a_no_and_no_directory_is_wrong_use() {
    let directory = tempfile::tempdir().unwrap();
    let stop = |name: &str| {
        let named = directory.path().join(name).display().to_string();
        run(directory.path(), &["splitter", "--stop", "--state-dir", &named])
    };
    std::fs::create_dir(directory.path().join("empty")).unwrap();
    let (code, _, err) = stop("empty");
    assert!(code == 1 && err.contains("no splitter runs"), "{code}: {err}");
    let (code, _, err) = stop("nowhere");
    assert!(code == 2 && err.contains("no such directory"), "{code}: {err}");
}

#[test]
fn recipes_of_the_examples_are_clean_and_planned() {
    let directory = tempfile::tempdir().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/rollout-default.yaml");
    let (code, out, err) = run(directory.path(), &["recipe", "lint", example, "--runtime", "local", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let lint: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(lint["clean"], true);
    let (code, out, _) = run(directory.path(), &["recipe", "plan", example, "--json", "--speed", "6"]);
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &plan["planned_ms"]), (0, &serde_json::json!(120_000)), "12 minutes by 6");
    let (code, out, _) = run(directory.path(), &["recipe", "plan", example, "--rate", "200"]);
    assert!(code == 0 && out.contains("at 200 requests/s") && out.contains("p99 from"), "{out}");
    // A threshold on little traffic stops healthy canaries; the default rule promises that it does not.
    let text = fs::read_to_string(example).unwrap().replace("rule: sequential", "rule: threshold");
    let threshold = directory.path().join("threshold.yaml");
    fs::write(&threshold, text).unwrap();
    let threshold = threshold.display().to_string();
    let (code, out, _) = run(directory.path(), &["recipe", "lint", &threshold, "--rate", "200"]);
    assert!(code == 0 && out.contains("of healthy canaries at 200 requests/s"), "{out}");
    let (_, out, _) = run(directory.path(), &["recipe", "lint", example, "--rate", "200"]);
    assert!(!out.contains("healthy canaries"), "{out}");
}

/// What `release start` would refuse, lint for the local runtime refuses too; and each of several recipes is looked at.
#[test]
fn what_cannot_be_a_release_is_not_clean_for_the_local_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/rollout-default.yaml");
    let text = fs::read_to_string(example).unwrap();
    let first = text.find("      - setWeight").unwrap();
    let many =
        write("many.yaml", &format!("{}{}{}", &text[..first], "      - setWeight: 5\n".repeat(200), &text[first..]));
    let (code, out, _) = run(directory.path(), &["recipe", "lint", &many]);
    assert_eq!(code, 0, "Argo takes it: {out}");
    for files in [&[many.as_str()][..], &[example, many.as_str()]] {
        let args = [&["recipe", "lint", "--runtime", "local"][..], files].concat();
        let (code, out, _) = run(directory.path(), &args);
        assert!(code == 1 && out.contains("many.yaml") && out.contains("more than 200 steps"), "{code}: {out}");
    }
    let (code, out, _) = run(directory.path(), &["recipe", "lint", "--runtime", "local", example, example]);
    assert_eq!(code, 0, "two recipes, each fit to be a release: {out}");
}

#[test]
fn a_table_of_ticks_is_judged_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let good = r#"{"t":1,"canary":{"n":5,"errors":0,"slow":1},"stable":{"n":95,"errors":0,"slow":1}}"#;
    let bad = r#"{"t":2,"canary":{"n":10,"errors":4,"slow":1},"stable":{"n":190,"errors":0,"slow":1}}"#;
    fs::write(path("ticks"), format!("{good}\n{bad}\n{bad}\n{bad}\n{}\n", bad.replace(":2,", ":9,"))).unwrap();
    fs::write(path("long"), format!("{good}\n{}\n{good}\n", "x".repeat(100_000))).unwrap();
    fs::write(path("garbage"), "no\ntick\n").unwrap();
    fs::write(path("policy"), r#"{"alpha":0.05,"grids":{"up":[2,5]}}"#).unwrap();
    let check = |args: &[&str], code: i32, expected: &[&str]| {
        let (found, out, err) = run(directory.path(), &[&["judge", "replay"], args].concat());
        assert_eq!(found, code, "{args:?}: {out}{err}");
        for words in expected {
            assert!(out.contains(words) || err.contains(words), "{args:?}: {words:?} is missing in {out}{err}");
        }
    };
    check(&[&path("ticks"), "--json"], 0, &[r#"{"verdict":"regressed","crossed_at":2,"ln_e":{"joint":"#, r#""abs":"#]);
    check(&[&path("ticks"), "--mode", "blocks"], 0, &["regressed", "by blocks"]);
    check(&[&path("ticks"), "--alpha", "1e-300", "--json"], 0, &[r#""verdict":"unrefuted","crossed_at":null"#]);
    check(&[&path("ticks"), "--policy", &path("policy"), "--json"], 0, &[r#""alpha":0.05"#]);
    check(&[&path("long"), "--json"], 0, &[r#""verdict":"inconclusive""#, "line 2: it has", r#""ticks":2"#]);
    check(&[&path("garbage")], 2, &["none of the 2 lines is a tick"]);
    check(&[&path("ticks"), "--alpha", "NaN"], 2, &["alpha"]);
    check(&[&path("ticks"), "--weights", "1,2"], 2, &["--weights takes three numbers"]);
    check(&[&path("ticks"), "--weights", "0.5,0.5,0.5"], 2, &["weights"]);
    check(&[&path("ticks"), "--policy", &path("garbage")], 2, &["is not a policy"]);
    check(&[&path("nowhere")], 2, &["cannot be read"]);
}

#[test]
fn a_server_alone_on_its_data_lets_people_in_and_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let [listen] = free();
    let mut command = deliveryos(data);
    command.args(["serve", "--listen", &listen.to_string()]).stderr(Stdio::piped());
    let mut server = Running::start(command);
    until("the local socket", || data.join("admin.sock").exists().then_some(()));
    let base = format!("http://{listen}");

    // A second one on the same data is refused, and harms nothing.
    let (code, _, err) = run(data, &["serve", "--listen", "127.0.0.1:0"]);
    assert!(code == 1 && err.contains("in use by another deliveryos server"), "{code} {err}");

    // Tokens and links come over the local socket while it runs.
    let token = |role: &str| {
        let (code, out, err) = run(data, &["token", "create", "--role", role, "--json"]);
        assert_eq!(code, 0, "{err}");
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["token"].as_str().unwrap().to_owned()
    };
    let (code, out, _) = run(data, &["token", "link"]);
    assert!(code == 0 && out.starts_with(&format!("{base}/login?token=dlv_link_")), "{out}");
    let viewer = token("viewer");
    until("the pages", || {
        (run(data, &["release", "list", "--server", &base, "--token", &viewer]).0 == 0).then_some(())
    });
    let (code, _, err) = run(data, &["release", "list", "--server", &base]);
    assert!(code == 1 && err.contains("wants a token"), "{code} {err}");
    let (code, _, err) = run(data, &["release", "list", "--server", &base, "--token", "dlv_token_wrong"]);
    assert!(code == 1 && err.contains("does not know this token") && !err.contains("dlv_token_wrong"), "{code} {err}");
    let (code, _, err) = run(data, &["release", "abort", "a-1", "--server", &base, "--token", &viewer]);
    assert!(code == 1 && err.contains("needs the role operator"), "{code} {err}");
    let (code, _, err) = run(data, &["release", "start", "a", "v1", "--server", &base, "--token", &token("operator")]);
    assert!(code == 1 && err.contains("add [services.a]"), "{code} {err}");
    let (code, out, err) = run(data, &["log", "verify", "--json"]);
    assert!(code == 0 && out.contains("\"holds\":true"), "while it runs: {out} {err}");

    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server.0.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    let status = until("its end", || server.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
    assert!(!data.join("admin.sock").exists());

    // Without a server the data directory is opened itself.
    assert!(token("viewer").starts_with("dlv_token_"));
    let export = data.join("export");
    let (code, _, err) = run(data, &["log", "export", &export.display().to_string()]);
    assert!(code == 0 && export.join("checkpoint").exists() && export.join("tile/0").exists(), "{err}");
}
