//! The check service over TLS, gRPC and AuthZEN.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::lifecycle::issue;
use crate::serve::{Answer, Service, add_server, folder, forward, reasons};

/// A certificate for this machine, its key, and who signed it.
struct Certified {
    authority: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Certified {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
        Self { authority }
    }

    /// A certificate and its key, in PEM.
    fn issue(&self) -> (String, String) {
        let names = vec!["localhost".to_owned()];
        let params = rcgen::CertificateParams::new(names).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// A client that trusts an authority, and shows a certificate if it has one.
fn tls_client(authority: &str, own: Option<(String, String)>) -> rustls::ClientConfig {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate(authority)).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder
                .with_client_auth_cert(vec![certificate(&chain)], key)
                .unwrap()
        }
    }
}

/// What answers here is no gateway, which is found out over TLS too.
#[test]
fn an_examination_speaks_tls() {
    let folder = folder();
    let (credential, _) = issue(&folder);
    let (ours, others) = (Certified::new(), Certified::new());
    let (certificate, key) = ours.issue();
    folder.write("server.pem", certificate);
    folder.write("server.key", key);
    folder.write("ours.pem", ours.authority.pem());
    folder.write("others.pem", others.authority.pem());
    folder.write("key", credential);
    let tls = "[server.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n";
    add_server(&folder, &format!("allow_loopback = true\n\n{tls}"));
    let service = Service::listening(&folder);
    let examine = |authority| {
        let url = "https://localhost/healthz";
        let args = ["doctor", "gateway", url, "--connect", &service.address];
        let more = [
            "--ca",
            authority,
            "--credential-file",
            "key",
            "--format",
            "table",
        ];
        folder.run(&[&args[..], &more].concat())
    };
    let open = examine("ours.pem").exit(1);
    assert!(open.out.contains("without a key: answered 200"), "{open:?}");
    let strange = examine("others.pem").exit(2);
    assert!(
        strange.err.contains("invalid peer certificate"),
        "{strange:?}"
    );
    let none = examine("key").exit(2);
    assert!(none.err.contains("has no certificate"), "{none:?}");
    service.end();
}

#[test]
fn a_certificate_is_shown_by_both_sides() {
    let folder = folder();
    let (credential, _) = issue(&folder);
    let (ours, others) = (Certified::new(), Certified::new());
    let (certificate, key) = ours.issue();
    folder.write("server.pem", certificate);
    folder.write("server.key", key);
    folder.write("callers.pem", ours.authority.pem());
    let tls = "\n[server.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n";
    add_server(&folder, &format!("{tls}client_ca = \"callers.pem\"\n"));
    let service = Service::listening(&folder);
    let ask = |own: Option<(String, String)>| {
        let config = tls_client(&ours.authority.pem(), own);
        let name = "localhost".try_into().unwrap();
        let client = rustls::ClientConnection::new(config.into(), name).unwrap();
        let stream = TcpStream::connect(&service.address).unwrap();
        let stream = rustls::StreamOwned::new(client, stream);
        Answer::try_to(
            stream,
            "/check/forward",
            &forward(&credential, "GET", "/inventory/1"),
        )
    };
    assert_eq!(ask(Some(ours.issue())).unwrap().status, 200);
    assert!(ask(None).is_none());
    assert!(ask(Some(others.issue())).is_none());
    // Nobody is answered in plain text.
    let plain = TcpStream::connect(&service.address).unwrap();
    assert!(Answer::try_to(plain, "/healthz", &[]).is_none());
    service.end();
    assert_eq!(reasons(&folder), ["scope.granted"]);
    folder.write("server.key", "none");
    let wrong = folder.run(&["serve"]).exit(2);
    assert!(wrong.err.contains("holds no private key"), "{wrong:?}");
}

#[test]
fn envoy_is_answered_over_grpc() {
    use envoy_types::ext_authz::v3::pb::{CheckRequest, HttpStatusCode};
    use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
    use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
    use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
    use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
    let folder = folder();
    let (credential, _) = issue(&folder);
    let service = Service::start(&folder);
    let check = |key: &str| CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                http: Some(HttpRequest {
                    method: "GET".to_owned(),
                    path: "/inventory/42".to_owned(),
                    host: "api.example.com".to_owned(),
                    headers: [("x-api-key".to_owned(), key.to_owned())].into(),
                    ..HttpRequest::default()
                }),
                ..Request::default()
            }),
            ..AttributeContext::default()
        }),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let url = format!("http://{}", service.address);
        let mut client = AuthorizationClient::connect(url).await.unwrap();
        let allowed = client.check(check(&credential)).await.unwrap().into_inner();
        assert_eq!(allowed.status.unwrap().code, 0);
        let Some(HttpResponse::OkResponse(ok)) = allowed.http_response else {
            panic!("no answer that is OK");
        };
        let names = ok
            .headers
            .iter()
            .map(|it| it.header.as_ref().unwrap().key.as_str());
        let identity = names.filter(|name| name.starts_with("x-keyward-"));
        assert_eq!(identity.count(), 5);
        assert!(ok.headers_to_remove.contains(&"x-api-key".to_owned()));
        let denied = client
            .check(check("kw_live_none"))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(denied.status.unwrap().code, 16);
        let Some(HttpResponse::DeniedResponse(response)) = denied.http_response else {
            panic!("no denial");
        };
        assert_eq!(
            response.status.unwrap().code,
            HttpStatusCode::Unauthorized as i32
        );
    });
    service.end();
    assert_eq!(reasons(&folder), ["scope.granted", "key.malformed"]);
}

#[test]
fn authzen_is_answered_one_by_one_and_in_a_batch() {
    let folder = folder();
    let (credential, _) = issue(&folder);
    let service = Service::start(&folder);
    let evaluation = |action: &str| {
        json!({
            "subject": {"type": "key", "id": "sync", "properties": {"credential": credential}},
            "action": {"name": action},
            "resource": {"type": "inventory", "id": "42"},
        })
    };
    let post = |path: &str, body: &Value| {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&service.address).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let answer = Answer::read(&answer);
        (
            answer.status,
            serde_json::from_str::<Value>(&answer.body).unwrap(),
        )
    };
    let (status, said) = post("/access/v1/evaluation", &evaluation("read"));
    assert_eq!((status, &said["decision"]), (200, &json!(true)), "{said}");
    let (status, said) = post("/access/v1/evaluation", &evaluation("delete"));
    assert_eq!((status, &said["decision"]), (200, &json!(false)), "{said}");
    let many = json!({
        "evaluations": [evaluation("read"), evaluation("delete"), evaluation("read")],
        "options": {"evaluations_semantic": "deny_on_first_deny"},
    });
    let (status, said) = post("/access/v1/evaluations", &many);
    let decisions: Vec<_> = said["evaluations"].as_array().unwrap().iter().collect();
    assert_eq!((status, decisions.len()), (200, 2), "{said}");
    assert_eq!(post("/access/v1/evaluation", &json!([])).0, 400);
    service.end();
    let read = ["scope.granted", "scope.missing"];
    assert_eq!(reasons(&folder), [read, read].concat());
}
