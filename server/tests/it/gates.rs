//! Gates: by the real executable, and as the server decides and records them.

use access::Role;
use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Kind, gate::GatesDecided};
use projections::{Receipt, describe};
use receipt_log::Log as _;
use serde_json::{Value, json};

use crate::{
    process::run,
    support::{Server, request, text},
};

const CLEAN: &str = r#"{"results":[],"errors":[],"paths":{"scanned":["a.py"]},"version":"1.0.0"}"#;
const FAILING: &str = r#"{"version":"1.0.0","errors":[],"results":[{"check_id":"eval-of-input","path":"a.py","start":{"line":3,"col":1},"end":{"line":3,"col":9},"extra":{"message":"eval of input","severity":"ERROR"}}]}"#;

#[test]
fn the_command_decides_with_its_exit_code() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (clean, failing) = (write("clean.json", CLEAN), write("failing.json", FAILING));
    let cut = write("cut.json", &FAILING[..FAILING.len() - 1]);
    let lax = write("lax.toml", "name = \"lax\"\nfail_at = \"critical\"\n");
    let wrong = write("wrong.toml", "name = \"wrong\"\nfail_att = \"high\"\n");
    let missing = directory.path().join("missing").display().to_string();
    let check = |args: &[&str], code: i32, expected: &str| {
        let (found, out, err) = run(directory.path(), &[&["gate", "check"] as &[&str], args].concat());
        assert!(found == code && format!("{out}{err}").contains(expected), "{args:?}: {found} {out}{err}");
        out
    };
    check(&[&clean], 0, "passed");
    check(&[&failing], 1, "eval-of-input");
    check(&[&failing, "--policy", &lax], 0, "passed (policy \"lax\")");
    check(&[&clean, &cut], 1, "cannot be read");
    check(&[&clean, &missing], 1, "cannot be read");
    check(&[&clean, "--policy", &wrong], 2, "line 2: unknown field `fail_att`");
    check(&[&clean, "--policy", &missing], 2, "--policy");
    check(&[&clean, "--against", &failing], 0, "0 new, 1 fixed, 0 unchanged");
    check(&[], 2, "");
    let said: Value = serde_json::from_str(&check(&[&failing, "--json"], 1, "")).unwrap();
    assert_eq!((&said["decision"], &said["findings"][0]["severity"]), (&json!("failed"), &json!("high")));
}

#[tokio::test]
async fn the_server_decides_and_records_once() {
    let server = Server::start().await;
    let token = server.token(Role::Operator).await;
    let post = async |body: &Value| {
        let sent = request(Method::POST, "/api/v1/gates")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body.to_string()));
        let response = server.send(sent.unwrap()).await;
        let status = response.status();
        (status, serde_json::from_str::<Value>(&text(response).await).unwrap_or(Value::Null))
    };
    let body = |id: &str, report: &str| json!({"id": id, "service": "checkout", "reports": [{"name": "semgrep.json", "base64": STANDARD.encode(report)}]});
    let (status, said) = post(&body("0123456789", FAILING)).await;
    assert_eq!((status, &said["decision"]), (StatusCode::CREATED, &json!("failed")), "{said}");
    let index = said["receipt"].as_u64().unwrap();
    let found = server.log.range(index, 1).await.unwrap().remove(0);
    assert_eq!(found.payload.kind, Kind::GatesFailed);
    let facts: GatesDecided = found.payload.facts().unwrap();
    assert_eq!((facts.findings, facts.failing, facts.reports.len()), (1, 1, 1));
    assert_eq!(server.log.segment(&facts.reports[0].segment).await.unwrap().as_deref(), Some(FAILING.as_bytes()));
    let sentence = describe(&Receipt { index, payload: found.payload }).sentence();
    assert_eq!(sentence, "Gates failed: semgrep eval-of-input (high) in a.py:3: eval of input");
    // The same again is the same receipt, whatever the clock says.
    server.clock.advance_millis(60_000);
    let (status, again) = post(&body("0123456789", FAILING)).await;
    assert_eq!((status, &again["receipt"]), (StatusCode::OK, &json!(index)));
    let (status, said) = post(&body("0123456790", CLEAN)).await;
    assert_eq!((status, &said["decision"]), (StatusCode::CREATED, &json!("passed")), "{said}");
    for (body, expected) in [
        (json!({"id": "0123456791", "reports": [{"name": "x", "base64": ""}]}), StatusCode::BAD_REQUEST),
        (json!({"id": "0123456791", "service": "checkout", "reports": []}), StatusCode::BAD_REQUEST),
        (
            json!({"id": "0123456791", "service": "checkout", "reports": [{"name": "x", "base64": "%"}]}),
            StatusCode::BAD_REQUEST,
        ),
        (
            json!({"id": "0123456791", "release": "checkout-9", "reports": [{"name": "x", "base64": ""}]}),
            StatusCode::NOT_FOUND,
        ),
    ] {
        assert_eq!(post(&body).await.0, expected, "{body}");
    }
    // More than other routes take.
    let large = format!("{CLEAN}{}", " ".repeat(2 * 1024 * 1024));
    assert_eq!(post(&body("0123456792", &large)).await.0, StatusCode::CREATED);
}
