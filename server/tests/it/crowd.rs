//! Many readers at once: each has a whole page.

use std::sync::Arc;

use access::Role;
use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use receipt_log::{Draft, Log as _};
use receipts::Payload;
use serde_json::Value;

use crate::support::{Server, request, text};

/// A release that was aborted, as the server answers it.
const RELEASE: &str = include_str!("../../../app/src/pages/releases/ahead.json");
/// Readers at once, and pages that each reads: what one of them does to another's shows in one page of a hundred.
const READERS: usize = 8;
const PAGES: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_that_are_made_at_once_are_whole() {
    let server = Arc::new(Server::start().await);
    let release: Value = serde_json::from_str(RELEASE).unwrap();
    for (n, receipt) in release["receipts"].as_array().unwrap().iter().enumerate() {
        let payload: Payload = serde_json::from_value(receipt["payload"].clone()).unwrap();
        server.log.append(Draft { key: format!("receipt-{n}"), payload }).await.unwrap();
    }
    let token = server.token(Role::Viewer).await;
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (server, token) = (server.clone(), token.clone());
            tokio::spawn(async move {
                // Mostly the page with the most in it.
                let pages = [
                    ("/releases/a-1", "<title>a 2 was aborted"),
                    ("/receipts/3", "<title>Receipt 3: "),
                    ("/", "<title>Overview "),
                    ("/releases", "<title>Releases "),
                    ("/releases/a-1?receipt=3", "<title>a 2 was aborted"),
                ];
                for page in 0..PAGES {
                    let (path, says) = pages[(reader + page) % pages.len()];
                    let asked = request(Method::GET, path)
                        .header(header::AUTHORIZATION, format!("Bearer {token}"))
                        .header(header::ACCEPT, "text/html");
                    let answer = server.send(asked.body(Body::empty()).unwrap()).await;
                    assert_eq!(answer.status(), StatusCode::OK, "{path}");
                    let page = text(answer).await;
                    assert!(page.contains(says) && page.contains("</html>"), "{path}: {page}");
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
}
