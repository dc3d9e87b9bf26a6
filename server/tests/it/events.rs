//! The live stream: no gap, no repetition, whatever breaks in between.

use std::time::Duration;

use access::Role;
use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use futures::StreamExt as _;

use crate::support::{Server, request};

/// Ids of the next `n` receipts of a stream.
async fn ids(stream: &mut (impl futures::Stream<Item = bytes::Bytes> + Unpin), n: usize) -> Vec<u64> {
    let mut ids = Vec::new();
    while ids.len() < n {
        let event =
            tokio::time::timeout(Duration::from_secs(20), stream.next()).await.expect("no event").expect("ended");
        let text = String::from_utf8(event.to_vec()).unwrap();
        if let Some(id) = text.lines().find_map(|line| line.strip_prefix("id: ")) {
            let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            let receipt: projections::Receipt = serde_json::from_str(data).unwrap();
            assert_eq!(receipt.index.to_string(), id, "the id is the index");
            ids.push(receipt.index);
        }
    }
    ids
}

async fn open(
    server: &Server,
    path: &str,
    last: Option<&str>,
) -> impl futures::Stream<Item = bytes::Bytes> + Unpin + use<> {
    let token = server.token(Role::Viewer).await;
    let mut sent = request(Method::GET, path).header(header::AUTHORIZATION, format!("Bearer {token}"));
    if let Some(last) = last {
        sent = sent.header("last-event-id", last);
    }
    let response = server.send(sent.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    Box::pin(response.into_body().into_data_stream().map(|chunk| chunk.unwrap()))
}

#[tokio::test]
async fn a_stream_resumes_without_gap_or_repetition() {
    let server = Server::start().await;
    for n in 0..5 {
        server.append(&format!("before-{n}")).await;
    }
    let mut first = open(&server, "/events?after=0", None).await;
    assert_eq!(ids(&mut first, 5).await, [1, 2, 3, 4, 5]);
    server.append("live-1").await;
    assert_eq!(ids(&mut first, 1).await, [6]);
    drop(first);
    // Missed while away, and while coming back.
    for n in 0..300 {
        server.append(&format!("away-{n}")).await;
    }
    // What the browser saw last is newer than the address the page opened.
    let mut second = open(&server, "/events?after=0", Some("6")).await;
    server.append("live-2").await;
    assert_eq!(ids(&mut second, 301).await, (7..=307).collect::<Vec<u64>>());
}

#[tokio::test]
async fn whoever_is_slow_reads_on_from_the_log() {
    let server = Server::start().await;
    let mut slow = open(&server, "/events?after=0", None).await;
    let mut awake = open(&server, "/events?after=0", None).await;
    server.append("first").await;
    assert_eq!(ids(&mut slow, 1).await, [1]);
    // Only whoever waits for news reads from the shared ring.
    let (read, ()) = tokio::join!(ids(&mut slow, 1), async {
        tokio::task::yield_now().await;
        server.append("second").await;
    });
    assert_eq!(read, [2]);
    // More than the shared ring holds, while the slow one does not read.
    let total = 1_500;
    let writers = (0..total).map(|n| {
        let server = &server;
        async move { server.append(&format!("many-{n}")).await }
    });
    futures::future::join_all(writers).await;
    assert_eq!(ids(&mut awake, total + 2).await, (1..=total as u64 + 2).collect::<Vec<_>>());
    assert_eq!(ids(&mut slow, total).await, (3..=total as u64 + 2).collect::<Vec<_>>());
    assert_eq!(server.app.hub.clients(), 2);
    drop((slow, awake));
    assert_eq!(server.app.hub.clients(), 0);
}

#[tokio::test]
async fn who_asks_for_nothing_gets_what_comes() {
    let server = Server::start().await;
    server.append("before").await;
    let mut stream = open(&server, "/events", None).await;
    server.append("after").await;
    assert_eq!(ids(&mut stream, 1).await, [2]);
}

#[tokio::test]
async fn streams_end_with_the_server() {
    let server = Server::start().await;
    let mut stream = open(&server, "/events", None).await;
    server.closing.send_replace(true);
    let rest = tokio::time::timeout(Duration::from_secs(10), async { while stream.next().await.is_some() {} }).await;
    assert!(rest.is_ok());
}
