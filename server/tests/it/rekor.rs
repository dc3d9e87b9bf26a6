//! `/rekor` through the server's router: what is logged verifies with the trusted root, and a receipt notes it.

use access::Role;
use attest::{Artifact, Policy, SLSA_PROVENANCE, Signer, SigningKey, Statement, TrustRoot, Verifier};
use axum::{
    body::Body,
    http::{Method, StatusCode, header},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Digest, Kind, event::SignatureLogged};
use receipt_log::Log as _;
use serde_json::{Value, json};

use crate::support::{Server, actor, request, text};

async fn post(server: &Server, token: &str, body: impl Into<Body>) -> (StatusCode, String) {
    let sent = request(Method::POST, "/rekor/api/v2/log/entries")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into());
    let response = server.send(sent.unwrap()).await;
    (response.status(), text(response).await)
}

async fn get(server: &Server, token: &str, path: &str) -> (StatusCode, Vec<u8>) {
    use http_body_util::BodyExt as _;
    let sent = request(Method::GET, path).header(header::AUTHORIZATION, format!("Bearer {token}")).body(Body::empty());
    let response = server.send(sent.unwrap()).await;
    (response.status(), response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

#[tokio::test]
async fn what_is_logged_is_proved_noted_and_served() {
    let server = Server::start().await;
    let (token, viewer) = (server.token(Role::Operator).await, server.token(Role::Viewer).await);
    let (key, _) = SigningKey::generate().unwrap();
    let image = Digest::from_sha256(&[7; 32]);
    let statement = Statement::new("app", &image, SLSA_PROVENANCE, json!({}));
    let receipts = *server.log.size().borrow();
    // Some before, so that proofs have hashes.
    for number in 0..5 {
        let file = key.file(&mut format!("file {number}").as_bytes()).unwrap();
        assert_eq!(post(&server, &token, file.log_request()).await.0, StatusCode::CREATED);
    }
    let signed = key.statement(&statement).unwrap();
    let asked = signed.log_request();
    let (status, answer) = post(&server, &token, asked.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let bundle = signed.logged(answer.as_bytes()).unwrap();

    let (status, root) = get(&server, &viewer, "/rekor/trusted_root.json").await;
    assert_eq!(status, StatusCode::OK);
    let verifier = Verifier::new(TrustRoot::from_json(&root).unwrap()).unwrap();
    let policy = Policy::by(Signer::key(key.public().clone())).stating(SLSA_PROVENANCE);
    let verify = |bundle: &str| {
        let now = jiff::Timestamp::now();
        verifier.verify(bundle.as_bytes(), Artifact::Digest(image.clone()), &policy, now)
    };
    let proved = verify(&bundle).unwrap();
    assert_eq!((proved.logged[0].index, proved.logged[0].log.as_str()), (5, "https://signatures.example"));
    let tree = bundle.replace("signatures.example\\n6\\n", "signatures.example\\n7\\n");
    assert_ne!(tree, bundle);
    verify(&tree).unwrap_err();

    // The same again is the same entry, and one receipt stands for each.
    let (_, again) = post(&server, &token, asked).await;
    let [first, again]: [Value; 2] = [&answer, &again].map(|text| serde_json::from_str(text).unwrap());
    assert_eq!(first["canonicalizedBody"], again["canonicalizedBody"]);
    assert_eq!(again["logIndex"], "5");
    assert_eq!(*server.log.size().borrow(), receipts + 6);
    let note = server.log.range(receipts + 5, 1).await.unwrap().remove(0).payload;
    assert_eq!((note.kind, &note.actor), (Kind::SignatureLogged, &actor(Role::Operator)));
    let facts: SignatureLogged = note.facts().unwrap();
    assert_eq!((facts.index, facts.entry.as_str(), facts.by_certificate), (5, "hashedrekord 0.0.2", false));

    // Tiles below both addresses, and what stands in them.
    for base in ["/rekor", "/rekor/api/v2"] {
        let (_, note) = get(&server, &viewer, &format!("{base}/checkpoint")).await;
        assert!(String::from_utf8(note).unwrap().starts_with("signatures.example\n6\n"));
        let (_, hashes) = get(&server, &viewer, &format!("{base}/tile/0/000.p/6")).await;
        assert_eq!(hashes.len(), 6 * 32);
        let (_, entries) = get(&server, &viewer, &format!("{base}/tile/entries/000.p/6")).await;
        let entries = tlog::tiles::decode_entries(&entries, 6).unwrap();
        assert_eq!(STANDARD.encode(entries[5]), first["canonicalizedBody"]);
        assert_eq!(tlog::leaf_hash(entries[5]).0, hashes[5 * 32..]);
        assert_eq!(get(&server, &viewer, &format!("{base}/tile/0/../x")).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn what_does_not_hold_is_not_logged() {
    let server = Server::start().await;
    let token = server.token(Role::Operator).await;
    let (key, _) = SigningKey::generate().unwrap();
    let good: Value = serde_json::from_str(&key.file(&mut &b"a file"[..]).unwrap().log_request()).unwrap();
    let mut forged = good.clone();
    forged["hashedRekordRequestV002"]["digest"] = STANDARD.encode([1; 32]).into();
    let mut large = good.clone();
    let verifier = &mut large["hashedRekordRequestV002"]["signature"]["verifier"];
    verifier["publicKey"]["rawBytes"] = STANDARD.encode(vec![0; 30_000]).into();
    let before = *server.log.size().borrow();
    for (body, status, expected) in [
        (forged.to_string(), StatusCode::BAD_REQUEST, "does not hold"),
        (large.to_string(), StatusCode::BAD_REQUEST, "20480 are allowed"),
        ("{}".to_owned(), StatusCode::BAD_REQUEST, "exactly one of"),
        ("x".to_owned(), StatusCode::BAD_REQUEST, "not a request"),
        (format!("{good}{}", " ".repeat(2 << 20)), StatusCode::PAYLOAD_TOO_LARGE, ""),
    ] {
        let (found, said) = post(&server, &token, body).await;
        assert_eq!(found, status, "{said}");
        assert!(said.contains(expected), "{expected:?}: {said}");
    }
    // Who may only read may not write, and nobody may not at all; Rekor's clients read that in its form.
    let viewer = server.token(Role::Viewer).await;
    let without = request(Method::POST, "/rekor/api/v2/log/entries").header(header::ACCEPT, "text/html, */*");
    let without = server.send(without.body(Body::from(good.to_string())).unwrap()).await;
    let answers = [
        (post(&server, &viewer, good.to_string()).await, StatusCode::FORBIDDEN, 7),
        (post(&server, "dlv_token_wrong", good.to_string()).await, StatusCode::UNAUTHORIZED, 16),
        ((without.status(), text(without).await), StatusCode::UNAUTHORIZED, 16),
    ];
    for ((status, said), expected, code) in answers {
        assert_eq!(status, expected, "{said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&said["code"], &said["details"]), (&json!(code), &json!([])), "{said}");
        assert!(
            said["message"].as_str().is_some_and(|why| why.contains("operator") || why.contains("token")),
            "{said}"
        );
    }
    assert_eq!(*server.log.size().borrow(), before);
    assert_eq!(post(&server, &token, good.to_string()).await.0, StatusCode::CREATED);
}
