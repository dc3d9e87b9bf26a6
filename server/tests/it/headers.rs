//! Headers that every answer carries, limits on what is sent, and errors that tell nothing.

use access::Role;
use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use server::router::inventory;

use crate::support::{ORIGIN, Server, request, text};

#[tokio::test]
async fn every_answer_is_guarded() {
    let server = Server::start().await;
    let token = server.token(Role::Admin).await;
    for route in inventory() {
        let path = route.path.replace("{id}", "checkout-1").replace("{index}", "0").replace("{*path}", "x");
        if path == "/events" {
            continue;
        }
        let sent = request(route.method.clone(), &path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        let response = server.send(sent.body(Body::empty()).unwrap()).await;
        let headers = response.headers();
        if path.starts_with("/pkg/") {
            // Parts of pages are no documents.
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
            assert_eq!(headers["cross-origin-resource-policy"], "same-origin", "{path}");
            assert!(!headers.contains_key(header::X_FRAME_OPTIONS), "{path}");
            continue;
        }
        let csp = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        for part in ["default-src 'none'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"] {
            assert!(csp.contains(part), "{path}: {csp}");
        }
        assert!(
            !csp.contains("unsafe-inline") && !csp.contains("unsafe-eval'") || csp.contains("'wasm-unsafe-eval'"),
            "{path}: {csp}"
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(headers[header::REFERRER_POLICY], "same-origin", "{path}");
        assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY", "{path}");
    }
}

#[tokio::test]
async fn a_page_has_its_own_nonce_and_is_not_kept() {
    let server = Server::start().await;
    let token = server.token(Role::Viewer).await;
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let sent =
            request(Method::GET, "/").header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty());
        let response = server.send(sent.unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let csp = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let nonce = csp.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        assert!(nonce.len() >= 20, "{csp}");
        let page = text(response).await;
        assert!(page.matches("<script").count() <= page.matches(&format!("nonce=\"{nonce}\"")).count(), "{page}");
        nonces.push(nonce);
    }
    assert_ne!(nonces[0], nonces[1]);
}

#[tokio::test]
async fn pages_are_compressed_and_the_tokens_of_their_forms_are_masked() {
    let server = Server::start().await;
    let session = server.session(Role::Operator).await;
    let get = async |path: &str, accepted: &str| {
        let sent = request(Method::GET, path)
            .header(header::COOKIE, format!("{}={}", server.cookie, session.secret))
            .header(header::ACCEPT_ENCODING, accepted);
        server.send(sent.body(Body::empty()).unwrap()).await
    };
    let form_token = |page: &str| {
        let (_, rest) = page.split_once("name=\"form_token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let plain = get("/", "identity").await;
    assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
    let plain = text(plain).await;
    let compressed = get("/", "gzip, br").await;
    assert_eq!(compressed.headers()[header::CONTENT_ENCODING], "br");
    assert!(compressed.headers()[header::VARY].to_str().unwrap().contains("accept-encoding"));
    let bytes = axum::body::to_bytes(compressed.into_body(), usize::MAX).await.unwrap();
    let mut page = String::new();
    std::io::Read::read_to_string(&mut brotli::Decompressor::new(&bytes[..], 4096), &mut page).unwrap();
    assert!(page.contains("</html>") && bytes.len() * 2 < page.len(), "{} of {}", bytes.len(), page.len());
    // Two pages of one session differ in them, so how long a page is says nothing about them.
    assert_ne!(form_token(&plain), form_token(&page));
    let json = get("/api/v1/releases", "br").await;
    assert_eq!(json.headers()[header::CONTENT_ENCODING], "br");
    // What is bytes, or a stream, is sent as it is.
    for path in ["/events", "/checkpoint"] {
        assert!(!get(path, "br").await.headers().contains_key(header::CONTENT_ENCODING), "{path}");
    }
}

#[tokio::test]
async fn large_bodies_and_nonsense_are_refused_in_words() {
    let server = Server::start().await;
    let token = server.token(Role::Operator).await;
    let post = async |path: &str, body: String| {
        let sent = request(Method::POST, path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body));
        let response = server.send(sent.unwrap()).await;
        (response.status(), text(response).await)
    };
    let (status, _) = post("/api/v1/releases", "x".repeat(2 * 1024 * 1024)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, said) = post("/api/v1/releases", "{".into()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    let start = |service: &str, version: &str, more: &str| {
        format!(r#"{{"id":"0123456789","service":"{service}","version":"{version}","recipe":"x"{more}}}"#)
    };
    for (body, expected, words) in [
        (start("checkout", "v9", ""), StatusCode::CONFLICT, "checkout has no version v9"),
        (start("other", "v2", ""), StatusCode::CONFLICT, "there is no service other"),
        (start("checkout", "v2", ",\"speed\":0"), StatusCode::BAD_REQUEST, "speed"),
        (start("checkout", "v2", ",\"down_migration\":\"x\""), StatusCode::CONFLICT, "no down_migration"),
        (
            start("checkout", "v2", ",\"command\":[\"rm\"]"),
            StatusCode::UNPROCESSABLE_ENTITY,
            "there is no field `command`: choose from `id`",
        ),
        ("{}".to_owned(), StatusCode::UNPROCESSABLE_ENTITY, "the body cannot be used: the field `id` is missing"),
        ("{\n \"id\"}".to_owned(), StatusCode::BAD_REQUEST, "the body is not JSON: expected `:` (line 2, column 6)"),
        (start("../etc", "v2", ""), StatusCode::UNPROCESSABLE_ENTITY, "a service name"),
        (start("checkout", "v2", ""), StatusCode::CREATED, "checkout-1"),
    ] {
        let (status, said) = post("/api/v1/releases", body.clone()).await;
        assert!(status == expected && said.contains(words), "{body}: {status} {said}");
        assert!(!said.contains("deserialize") && !said.contains("at line"), "{body}: {said}");
    }
    let long = "é".repeat(501);
    let (status, said) = post("/api/v1/releases", start("checkout", "v2", &format!(",\"reason\":\"{long}\""))).await;
    assert!(status == StatusCode::BAD_REQUEST && said.contains("500 characters"), "{said}");
    assert_eq!(server.reached.count(), 1);
}

#[tokio::test]
async fn a_form_that_is_too_large_is_not_read() {
    let server = Server::start().await;
    let session = server.session(Role::Operator).await;
    let sent = request(Method::POST, "/api/release_command")
        .header(header::ORIGIN, ORIGIN)
        .header(header::COOKIE, format!("{}={}", server.cookie, session.secret))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(format!("form_token={}&reason={}", session.form_token, "x".repeat(100_000))));
    assert_eq!(server.send(sent.unwrap()).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(server.reached.count(), 0);
}

#[tokio::test]
async fn one_receipt_leaves_as_proof_and_envelope_that_verify() {
    let server = Server::start().await;
    let index = server.append("a-receipt").await;
    let token = server.token(Role::Viewer).await;
    let get = async |path: String| {
        let sent =
            request(Method::GET, &path).header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty());
        server.send(sent.unwrap()).await
    };
    for form in ["tlog-proof", "dsse"] {
        let response = get(format!("/receipts/{index}/{form}")).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers()[header::CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment"));
        let file = text(response).await;
        let report = receipt_log::offline::verify_receipt_file(file.as_bytes(), server.log.vkey()).unwrap();
        assert_eq!(report.signature, receipts::Check::Passed, "{form}");
        assert_eq!(report.holds(), form == "tlog-proof", "{form}");
    }
    assert_eq!(get("/receipts/999/dsse".into()).await.status(), StatusCode::NOT_FOUND);
    let metrics = text(get("/metrics".into()).await).await;
    assert!(metrics.contains("deliveryos_log_receipts 2\n"), "{metrics}");
}

/// While pages are listed nothing is loaded in the whole process: a server that starts must not keep the pages of another from being whole.
#[tokio::test]
async fn a_page_is_whole_while_another_server_starts() {
    let server = Server::start().await;
    let token = server.token(Role::Viewer).await;
    let app = server.app.clone();
    let starts = std::thread::spawn(move || (0..100).for_each(|_| drop(server::router::router(app.clone()))));
    let mut pages = 0;
    while !starts.is_finished() || pages == 0 {
        let sent = request(Method::GET, "/").header(header::AUTHORIZATION, format!("Bearer {token}"));
        let sent = server.send(sent.body(Body::empty()).unwrap());
        let answer = tokio::time::timeout(std::time::Duration::from_secs(20), async { text(sent.await).await }).await;
        assert!(answer.is_ok_and(|page| page.contains("</html>")), "page {pages} is never whole");
        pages += 1;
    }
    starts.join().unwrap();
}
