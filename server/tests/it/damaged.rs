//! One byte of the log that changed on the disk: what is said of it, and that it holds up nothing else.

use std::path::Path;

use access::Role;
use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use controller::LeftAlone;
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use crate::{
    journey::Site,
    process::{Running, until},
    support::{Server, request, text},
};

async fn damage(data_dir: &Path, index: u64) {
    let file = data_dir.join(store_sqlite::DATABASE_FILE);
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let sql = "UPDATE entry SET bytes = CAST(replace(CAST(bytes AS TEXT), 'payload\":\"ey', 'payload\":\"ez') AS BLOB) WHERE idx = ?1";
    let done = sqlx::query(sql).bind(index as i64).execute(&mut connection).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    connection.close().await.unwrap();
}

async fn get(server: &Server, path: &str) -> (StatusCode, String) {
    let token = server.token(Role::Viewer).await;
    let asked = request(Method::GET, path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    let answer = server.send(asked.body(Body::empty()).unwrap()).await;
    (answer.status(), text(answer).await)
}

async fn healthz(server: &Server) -> (StatusCode, Value) {
    let answer = server.send(request(Method::GET, "/healthz").body(Body::empty()).unwrap()).await;
    (answer.status(), serde_json::from_str(&text(answer).await).unwrap())
}

/// A hash of the tree that is gone makes a whole page of the log unreadable: the receipt is named and not its page, and what lies behind is read.
#[tokio::test]
async fn what_cannot_be_read_is_named_one_by_one() {
    let server = Server::start().await;
    for n in 0..100 {
        server.append(&format!("receipt-{n}")).await;
    }
    let file = server.directory.path().join(store_sqlite::DATABASE_FILE);
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    for (sql, index) in [("DELETE FROM node WHERE id = ?1", 5), ("DELETE FROM entry WHERE idx = ?1", 90)] {
        assert_eq!(sqlx::query(sql).bind(index).execute(&mut connection).await.unwrap().rows_affected(), 1);
    }
    connection.close().await.unwrap();
    damage(server.directory.path(), 80).await;
    server.app.health.clone().read_through(server.app.store.clone()).await;
    assert_eq!(
        healthz(&server).await.1["reasons"],
        serde_json::json!(["receipt 5 is damaged", "receipt 80 is damaged", "receipt 90 is damaged"])
    );
}

/// Longer than what is read at once: it is one thing that is wrong, and what lies before it is read all the same.
#[tokio::test]
async fn a_long_gap_is_named_once() {
    let server = Server::start().await;
    for n in 0..700 {
        server.append(&format!("receipt-{n}")).await;
    }
    let file = server.directory.path().join(store_sqlite::DATABASE_FILE);
    let mut connection = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    let gone = sqlx::query("DELETE FROM entry WHERE idx BETWEEN 50 AND 689").execute(&mut connection).await.unwrap();
    assert_eq!(gone.rows_affected(), 640);
    connection.close().await.unwrap();
    damage(server.directory.path(), 10).await;
    server.app.health.clone().read_through(server.app.store.clone()).await;
    assert_eq!(
        healthz(&server).await.1["reasons"],
        serde_json::json!(["receipt 10 is damaged", "receipt 50 is damaged"])
    );
}

#[tokio::test]
async fn health_names_what_is_damaged_and_what_is_left_alone() {
    let server = Server::start().await;
    server.app.health.clone().read_through(server.app.store.clone()).await;
    assert_eq!((healthz(&server).await.0, healthz(&server).await.1["status"].clone()), (StatusCode::OK, "ok".into()));
    assert!(!get(&server, "/settings").await.1.contains("Health"));
    damage(server.directory.path(), 0).await;
    server.app.health.clone().read_through(server.app.store.clone()).await;
    let why = "receipt 0 is damaged: secret-why".to_owned();
    *server.reached.left_alone.lock().unwrap() = vec![LeftAlone { service: "checkout".parse().unwrap(), why }];
    let (status, body) = healthz(&server).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["status"], "unhealthy");
    assert_eq!(body["reasons"], serde_json::json!(["the service checkout is left alone", "receipt 0 is damaged"]));
    // In full for who may read the log.
    let (status, page) = get(&server, "/settings").await;
    assert_eq!(status, StatusCode::OK);
    for words in [
        "receipt 0 is damaged: its bytes are not those",
        "checkout is left alone",
        "secret-why",
        "deliveryos log verify",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

fn http(base: &str, path: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let host = base.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

fn damage_now(site: &Site, index: u64) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(damage(site.data(), index));
}

fn receipts(site: &Site, release: &str) -> Vec<u64> {
    let view = site.view(release).unwrap();
    view["receipts"].as_array().unwrap().iter().map(|receipt| receipt["index"].as_u64().unwrap()).collect()
}

#[test]
fn a_damaged_receipt_of_an_old_release_holds_up_nothing_and_one_of_its_own_leaves_the_abort() {
    let (site, mut server) = Site::new();
    until("v1 is ready", || site.served_by());
    let (_counters, load) = site.load();
    let first = site.start("v2", "quick.yaml");
    assert_eq!(site.cli(&["release", "watch", &first]).0, 0);
    let second = site.start("v3", "waits.yaml");
    until("25 %", || (site.weight(&second) == 25).then_some(()));
    let old = receipts(&site, &first)[3];
    server.kill();
    damage_now(&site, old);

    // The release under way is carried on, and the damage is told.
    let mut server = Running::start(site.server());
    site.serving();
    let found = format!("receipt {old} is damaged");
    let (status, body) =
        until("it is found", || Some(http(&site.base, "/healthz")).filter(|(status, _)| *status == 503));
    assert!(status == 503 && body.contains(&found) && !body.contains("left alone"), "{body}");
    let (code, _, err) = site.cli(&["release", "promote", &second]);
    assert_eq!(code, 0, "{err}");
    until("50 %", || (site.weight(&second) == 50).then_some(()));

    // A receipt of its own: everything is answered with the reason, and an abort takes the traffic.
    let own = receipts(&site, &second)[3];
    server.kill();
    damage_now(&site, own);
    let _server = Running::start(site.server());
    site.serving();
    let found = format!("receipt {own} is damaged");
    let recipe = site.data().join("quick.yaml").display().to_string();
    for args in [
        &["release", "pause", &second][..],
        &["release", "start", "checkout", "v4", "--recipe", &recipe, "--reason", "test"],
    ] {
        let (code, out, err) = site.cli(args);
        assert_ne!(code, 0, "{args:?}");
        for words in ["the service checkout is left alone", &found, "deliveryos log verify"] {
            assert!(err.contains(words), "{args:?}: {words} is missing in {out}{err}");
        }
    }
    assert!(http(&site.base, "/healthz").1.contains("the service checkout is left alone"));
    let (code, out, err) = site.cli(&["release", "abort", &second, "--reason", "enough"]);
    assert!(code == 0 && out.contains("accepted, receipt"), "{out}{err}");
    load.shutdown_background();
    for _ in 0..200 {
        assert_eq!(site.served_by().as_deref(), Some("v2"));
    }
}
