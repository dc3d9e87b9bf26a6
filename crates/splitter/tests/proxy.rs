//! What passes through, what is limited, and what is counted.

#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests panic like tests

mod common;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::*;
use http::StatusCode;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use splitter::control::Request as Ask;
use splitter::{Limits, Protocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn one(limits: impl FnOnce(&mut Limits)) -> (Splitter, Backend, SocketAddr) {
    let backend = Backend::start("stable").await;
    let splitter = Splitter::start().await;
    let mut spec = service(url_version("a", backend.address), None);
    limits(&mut spec.limits);
    let address = splitter.apply(spec).await;
    (splitter, backend, address)
}

#[tokio::test]
async fn answers_of_the_splitter_name_their_cause() {
    let (splitter, backend, address) = one(|limits| {
        limits.answer_ms = 300;
        limits.headers = 20;
        limits.head_bytes = 16 * 1024;
        limits.body_bytes = Some(1_000);
    })
    .await;
    let check = async |request: &str, status: &str, says: &str| {
        let answer = raw(address, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(says), "{request:.60}: {answer}");
    };
    let many: String = (0..30).map(|i| format!("x-{i}: y\r\n")).collect();
    let long = "y".repeat(20_000);
    let end = "host: a\r\nconnection: close\r\n";
    check(&format!("GET /status/200 HTTP/1.1\r\n{end}\r\n"), "200", "stable").await;
    check(&format!("GET /never HTTP/1.1\r\n{end}\r\n"), "504", "x-deliveryos-error: answer-timeout").await;
    check("CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: close\r\n\r\n", "405", "CONNECT").await;
    check("GET / HTTP/1.1\r\nconnection: close\r\n\r\n", "400", "host-header").await;
    check("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n", "400", "host-header").await;
    check(&format!("GET / HTTP/1.1\r\n{end}{many}\r\n"), "431", "").await;
    check(&format!("GET / HTTP/1.1\r\n{end}x: {long}\r\n\r\n"), "431", "").await;
    check("nonsense\r\n\r\n", "400", "").await;
    check(&format!("POST /length HTTP/1.1\r\n{end}content-length: 1001\r\n\r\n"), "413", "body-too-large").await;
    check(
        &format!(
            "POST /length HTTP/1.1\r\n{end}transfer-encoding: chunked\r\n\r\n258\r\n{0}\r\n258\r\n{0}\r\n0\r\n\r\n",
            "z".repeat(600)
        ),
        "413",
        "body-too-large",
    )
    .await;
    check(&format!("POST /length HTTP/1.1\r\n{end}content-length: 1000\r\n\r\n{}", "z".repeat(1000)), "200", "1000")
        .await;
    check(&format!("GET /status/503 HTTP/1.1\r\n{end}\r\n"), "503", "stable").await;
    assert!(raw(address, "GET /status/204 HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 204"));
    drop(backend);
    eventually("the version is gone", async || {
        raw(address, &format!("GET / HTTP/1.1\r\n{end}\r\n")).await.starts_with("HTTP/1.1 502").then_some(())
    })
    .await;
    check(&format!("GET / HTTP/1.1\r\n{end}\r\n"), "502", "x-deliveryos-error: upstream-connect").await;
    let sum = splitter.counted("a", |sum| sum.upstream_failures >= 2).await;
    assert_eq!(sum.timeouts, 1);
    assert_eq!(sum.errors, sum.timeouts + sum.upstream_failures + 1, "a version's own 5xx is counted apart: {sum:?}");
    assert_eq!(sum.client_aborts, 1, "the body that grew too large");
    assert_eq!(sum.n, sum.classes.iter().sum::<u64>());
}

/// Whatever a client writes about its body's length: it is one request or a refusal, and what follows it is never read as another.
#[tokio::test]
async fn bodies_of_doubtful_length_smuggle_nothing() {
    let (splitter, _backend, address) = one(|_| {}).await;
    let after = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let post =
        |path: &str, lines: &str, body: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\n{lines}\r\n{body}{after}");
    let check = async |request: String, status: &str, says: &str| {
        let answer = raw(address, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")) && answer.contains(says), "{request}: {answer}");
        assert_eq!(answer.matches("\r\ndate: ").count(), 1, "{request}: {answer}");
        answer
    };
    let chunked = "transfer-encoding: chunked\r\n";
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5;a\n\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
    ] {
        check(post("/length", chunked, body), "400", "x-deliveryos-error: body-malformed").await;
    }
    for lines in ["content-length: 1\r\ncontent-length: 2\r\n", "content-length: +1\r\n", "content-length: 1, 2\r\n"] {
        check(post("/length", lines, "x"), "400", "").await;
    }
    for lines in ["transfer-encoding: gzip\r\n", "transfer-encoding: chunked, identity\r\n"] {
        check(post("/length", lines, "0\r\n\r\n"), "400", "").await;
    }
    // Both lengths at once. RFC 9112 section 6.3: by the coding alone, the length is not sent on, the connection ends.
    let both =
        ["content-length: 4\r\ntransfer-encoding: chunked\r\n", "transfer-encoding: chunked\r\nContent-Length: 4\r\n"];
    for lines in both {
        check(post("/length", lines, "8\r\n12345678\r\n0\r\n\r\n"), "200", "\r\n\r\n8").await;
        let answer = check(post("/headers", lines, "8\r\n12345678\r\n0\r\n\r\n"), "200", "").await;
        let (_, sent) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            sent.contains("transfer-encoding: chunked") && !sent.to_lowercase().contains("content-length"),
            "{sent}"
        );
    }
    let mut half = TcpStream::connect(address).await.unwrap();
    let request = format!("POST /length HTTP/1.1\r\nhost: a\r\n{chunked}\r\n5\r\nhe");
    half.write_all(request.as_bytes()).await.unwrap();
    drop(half);
    let sum = splitter.counted("a", |sum| sum.client_aborts >= 5).await;
    assert_eq!((sum.errors, sum.client_aborts), (0, 5), "none of it is the version's failure: {sum:?}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_the_versions_failure() {
    // A version that promises 100 bytes and sends 4.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let version = url_version("a", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                if stream.read(&mut [0; 1024]).await.unwrap() > 0 {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart").await.unwrap();
                }
            });
        }
    });
    let splitter = Splitter::start().await;
    let address = splitter.apply(service(version, None)).await;
    let answer = raw(address, "GET /broken HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("part"), "{answer}");
    let sum = splitter.counted("a", |sum| sum.errors > 0).await;
    assert_eq!((sum.n, sum.upstream_failures, sum.classes), (1, 1, [0, 1, 0, 0, 0]));
}

#[tokio::test]
async fn a_client_that_gives_up_is_not_the_versions_failure() {
    let (splitter, backend, address) = one(|_| {}).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /hold HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    eventually("it is under way", async || (backend.held.load(Ordering::Relaxed) > 0).then_some(())).await;
    drop(stream);
    let sum = splitter.counted("a", |sum| sum.client_aborts > 0).await;
    assert_eq!((sum.n, sum.errors, sum.started, sum.in_flight), (0, 0, 1, 0));
}

#[tokio::test]
async fn slow_heads_and_idle_connections_end() {
    let (_splitter, backend, address) = one(|limits| {
        limits.head_ms = 300;
        limits.keep_alive_ms = 600;
        limits.answer_ms = 5_000;
    })
    .await;
    // A head that trickles ends at its limit, not at the idle limit.
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut buffer = [0u8; 1024];
    assert!(stream.read(&mut buffer).await.unwrap() > 0);
    stream.write_all(b"GET / HTTP/1.1\r\nx-slow: ").await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.expect("it ends");
    assert!(matches!(ended, Ok(0) | Err(_)));
    assert!(
        begun.elapsed() >= Duration::from_millis(250) && begun.elapsed() < Duration::from_millis(590),
        "{:?}",
        begun.elapsed()
    );
    // So does one that never begins, and half a preface.
    for start in ["", "P"] {
        assert_eq!(raw(address, start).await, "");
    }
    // A connection that has had a request is closed when idle, but not while one is under way.
    let mut client = Http::connect(address).await;
    let held = tokio::spawn(async move {
        let answer = client.get("/hold").await;
        (client, answer)
    });
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    idle.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"));
    backend.release.notify_one();
    assert_eq!(held.await.unwrap().1.0, StatusCode::OK);
}

#[tokio::test]
async fn forwarded_headers_and_targets_are_right() {
    let (_splitter, _backend, address) = one(|_| {}).await;
    let answer = raw(address, "GET http://shop.example/headers?q=1 HTTP/1.1\r\nhost: other\r\nx-forwarded-for: 6.6.6.6\r\nconnection: close, x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\nte: trailers\r\n\r\n").await;
    for line in [
        "HTTP/1.1 GET /headers?q=1",
        "host: shop.example",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: shop.example",
        "x-forwarded-proto: http",
        "te: trailers",
    ] {
        assert!(answer.contains(line), "{line} is missing in {answer}");
    }
    for line in ["6.6.6.6", "x-hop", "keep-alive: 5"] {
        assert!(!answer.contains(line), "{line} is in {answer}");
    }
}

#[tokio::test]
async fn large_bodies_stream_both_ways() {
    let (splitter, _backend, address) = one(|_| {}).await;
    let mut client = Http::connect(address).await;
    let chunk = Bytes::from(vec![b'u'; 1 << 20]);
    let upload = futures::stream::iter((0..64).map(move |_| Ok(Frame::data(chunk.clone()))));
    let response = client.send(post("/length", BodyExt::boxed(StreamBody::new(upload)))).await.unwrap();
    assert_eq!(text(response).await, (64 << 20).to_string());
    let response = client.send(get("/big")).await.unwrap();
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(length, 64 << 20);
    assert_eq!(
        text(client.send(post("/echo", bytes("small"))).await.unwrap()).await,
        "small",
        "the connection is used again"
    );
    let sum = splitter.counted("a", |sum| sum.n >= 3).await;
    assert_eq!((sum.bytes_in, sum.bytes_out), ((64 << 20) + 5, (64 << 20) + 8 + 5));
}

#[tokio::test]
async fn events_pass_unbuffered_and_count_at_once() {
    let (splitter, backend, address) = one(|_| {}).await;
    let mut client = Http::connect(address).await;
    let mut events = client.send(get("/events")).await.unwrap().into_body();
    assert_eq!(events.frame().await.unwrap().unwrap().into_data().unwrap(), "data: one\n\n");
    let sum = splitter.counted("a", |sum| sum.n == 1).await;
    assert_eq!((sum.in_flight, sum.errors), (1, 0));
    backend.release.notify_one();
    assert_eq!(events.frame().await.unwrap().unwrap().into_data().unwrap(), "data: two\n\n");
    assert!(events.frame().await.is_none());
}

#[tokio::test]
async fn websockets_pass_and_are_cut_at_the_drain_limit() {
    let canary = Backend::start("canary").await;
    let stable = Backend::start("stable").await;
    let splitter = Splitter::start().await;
    let address =
        splitter.apply(service(url_version("a", stable.address), Some(url_version("b", canary.address)))).await;
    splitter.weight(100).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /socket HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(
        head.starts_with("http/1.1 101") && head.contains("connection: upgrade") && head.contains("upgrade: websocket"),
        "{head}"
    );
    for word in ["one", "three"] {
        socket.write_all(word.as_bytes()).await.unwrap();
        let mut echo = vec![0u8; word.len()];
        socket.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, word.as_bytes());
    }
    splitter.weight(0).await;
    splitter
        .ask(Ask::StopVersion { epoch: 1, service: "shop".into(), version: "b".into(), drain_ms: 200 })
        .await
        .unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest).await;
    let gone = eventually("it is gone", async || splitter.service("shop").await.stopped.pop()).await;
    assert_eq!((gone.cut, gone.finished), (1, 0));
    assert!(gone.drained.mono_us - gone.taken_out.mono_us >= 200_000);
}

#[tokio::test]
async fn a_drain_lets_requests_end_or_cuts_them() {
    let canary = Backend::start("canary").await;
    let stable = Backend::start("stable").await;
    let splitter = Splitter::start().await;
    let address =
        splitter.apply(service(url_version("a", stable.address), Some(url_version("b", canary.address)))).await;
    for (drain_ms, finished, cut) in [(60_000, 2, 0), (100, 0, 2)] {
        let held = canary.held.load(Ordering::Relaxed);
        splitter.weight(100).await;
        let waiting: Vec<_> =
            (0..2).map(|_| tokio::spawn(async move { Http::connect(address).await.get("/hold").await })).collect();
        eventually("both are under way", async || (canary.held.load(Ordering::Relaxed) == held + 2).then_some(()))
            .await;
        let already = splitter.service("shop").await.stopped.len();
        splitter
            .ask(Ask::StopVersion { epoch: 1, service: "shop".into(), version: "b".into(), drain_ms })
            .await
            .unwrap();
        assert_eq!(Http::connect(address).await.get("/").await.1, "stable", "nothing new goes to it");
        if finished > 0 {
            let status = eventually("it drains", async || {
                splitter.service("shop").await.draining.into_iter().find(|v| v.in_flight == 2)
            })
            .await;
            assert_eq!(status.version, "b");
            canary.release.notify_waiters();
        }
        for client in waiting {
            let (status, body) = client.await.unwrap();
            match finished {
                0 => assert_eq!(
                    (status, body.as_str()),
                    (StatusCode::SERVICE_UNAVAILABLE, "the version was taken out before it answered\n")
                ),
                _ => assert_eq!((status, body.as_str()), (StatusCode::OK, "canary")),
            }
        }
        let gone =
            eventually("it is gone", async || splitter.service("shop").await.stopped.get(already).cloned()).await;
        assert_eq!((gone.finished, gone.cut), (finished, cut));
        let canary = splitter::control::Request::StartVersion {
            epoch: 1,
            service: "shop".into(),
            track: model::Track::Canary,
            version: url_version("b", canary.address),
            dead_man_seconds: None,
        };
        splitter.ask(canary).await.unwrap();
        splitter.ready("shop", "b").await;
    }
    let sum = splitter.counted("b", |sum| sum.cut == 2).await;
    assert_eq!((sum.n, sum.errors), (2, 0), "a request that was cut is no failure of the version");
}

#[tokio::test]
async fn http2_comes_in() {
    let (splitter, backend, address) = one(|limits| limits.streams = 4).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = |path: &str| {
        http::Request::builder()
            .uri(format!("http://shop.example{path}"))
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Empty::<Bytes>::new().boxed())
            .unwrap()
    };
    let answer = text(sender.clone().send_request(request("/headers")).await.unwrap()).await;
    for line in ["HTTP/1.1 GET /headers", "host: shop.example", "cookie: a=1; b=2"] {
        assert!(answer.contains(line), "{line} is missing in {answer}");
    }
    // Requests of one connection do not wait for each other.
    let held = tokio::spawn(sender.clone().send_request(request("/hold")));
    eventually("one is held", async || (backend.held.load(Ordering::Relaxed) == 1).then_some(())).await;
    for _ in 0..50 {
        assert_eq!(text(sender.clone().send_request(request("/")).await.unwrap()).await, "stable");
    }
    backend.release.notify_one();
    assert_eq!(text(held.await.unwrap().unwrap()).await, "stable");
    let sum = splitter.counted("a", |sum| sum.n == 52).await;
    assert_eq!(sum.errors, 0);
}

#[tokio::test]
async fn http2_goes_out_with_trailers() {
    let backend = Backend::start("stable").await;
    let splitter = Splitter::start().await;
    let mut version = url_version("a", backend.address);
    version.protocol = Protocol::H2c;
    version.health.path = Some("/".into());
    let address = splitter.apply(service(version, None)).await;
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::builder()
        .uri("http://shop.example/trailers")
        .header("te", "trailers")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap().get("grpc-status").unwrap(), "0");
    assert_eq!(body.to_bytes(), "message");
    let mut client = Http::connect(address).await;
    let (_, answer) = client.get("/headers").await;
    assert!(answer.contains("HTTP/2.0 GET http://shop.example/headers"), "{answer}");
    assert_eq!(text(client.send(post("/echo", bytes("body"))).await.unwrap()).await, "body");
}

#[tokio::test]
async fn connections_over_the_limit_wait() {
    let (splitter, _backend, address) = one(|limits| limits.connections = 2).await;
    let mut one = Http::connect(address).await;
    let mut two = Http::connect(address).await;
    one.get("/").await;
    two.get("/").await;
    let third = tokio::spawn(async move { Http::connect(address).await.get("/").await });
    eventually("two are open", async || (splitter.service("shop").await.connections == 2).then_some(())).await;
    assert!(!third.is_finished());
    drop(one);
    assert_eq!(third.await.unwrap().0, StatusCode::OK);
}
