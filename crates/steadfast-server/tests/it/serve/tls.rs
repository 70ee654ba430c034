//! TLS, with certificates of an authority of the test's own.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use serde_json::Value;
use steadfast::store::testing::FAKETIME;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;

/// An authority, and what it has signed, in a folder.
struct Authority<'f>(&'f Path);

impl<'f> Authority<'f> {
    fn new(folder: &'f Folder) -> Self {
        let authority = Self(folder.path());
        authority.openssl(&format!(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority \
             -addext basicConstraints=critical,CA:TRUE -keyout {0}/ca.key -out {0}/ca.pem",
            authority.0.display()
        ));
        authority
    }

    fn openssl(&self, args: &str) {
        self.openssl_at("now", args);
    }

    /// Runs it at a time, such as one at which a certificate was made that has expired since.
    fn openssl_at(&self, when: &str, args: &str) {
        let mut command = Command::new("openssl");
        command.args(args.split(' ').filter(|arg| !arg.is_empty()));
        if when != "now" {
            command
                .env("LD_PRELOAD", FAKETIME)
                .env("FAKETIME", format!("@{when} 00:00:00"));
        }
        let made = command.output().unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    /// Signs a certificate for 127.0.0.1 that is told by its name; gives the paths of it and its key.
    fn sign(&self, name: &str, days: i32) -> (PathBuf, PathBuf) {
        let dir = self.0.display();
        std::fs::write(self.0.join("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -keyout {dir}/{name}.key -out {dir}/{name}.csr"
        ));
        let when = if days < 0 { "2020-01-01" } else { "now" };
        let days = days.abs();
        self.openssl_at(when, &format!(
            "x509 -req -in {dir}/{name}.csr -CA {dir}/ca.pem -CAkey {dir}/ca.key -CAcreateserial -days {days} -extfile {dir}/ext -out {dir}/{name}.pem"
        ));
        (
            self.0.join(format!("{name}.pem")),
            self.0.join(format!("{name}.key")),
        )
    }

    /// Says who serves there, as a client of openssl sees it.
    fn served_by(&self, address: &str) -> String {
        let seen = Command::new("openssl")
            .args([
                "s_client",
                "-connect",
                address,
                "-verify_return_error",
                "-brief",
                "-CAfile",
            ])
            .arg(self.0.join("ca.pem"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&seen.stderr).into_owned();
        let subject = told
            .lines()
            .find_map(|line| line.strip_prefix("Peer certificate: CN"));
        let subject = subject.unwrap_or_else(|| panic!("{told}"));
        subject.trim_start_matches([' ', '=']).trim().to_owned()
    }
}

/// As keys of a table.
fn keys((certificate, key): &(PathBuf, PathBuf)) -> String {
    format!(
        "tls_certificate = \"{}\"\ntls_key = \"{}\"\n",
        certificate.display(),
        key.display()
    )
}

/// A configuration whose API is served by TLS.
fn configured(folder: &Folder, identity: &(PathBuf, PathBuf), listen: &str) -> PathBuf {
    let config = folder.configure(&shell("nothing", "true", ""));
    let text = std::fs::read_to_string(&config).unwrap();
    let (before, after) = text
        .split_once("[api]\nlisten = \"127.0.0.1:0\"\n")
        .unwrap();
    std::fs::write(
        &config,
        format!(
            "{before}[api]\nlisten = \"{listen}\"\n{}{after}",
            keys(identity)
        ),
    )
    .unwrap();
    config
}

fn address(told: &str) -> String {
    let address = told.split("address=").nth(1).unwrap();
    address.split_whitespace().next().unwrap().to_owned()
}

fn status(address: &str, args: &[&str], token: &str) -> Output {
    status_of(&format!("https://{address}"), args, token)
}

fn status_of(server: &str, args: &[&str], token: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command
        .args(["status", "--json", "--server", server])
        .args(args);
    command
        .env("STEADFAST_TOKEN", token)
        .env_remove("STEADFAST_CA")
        .output()
        .unwrap()
}

#[test]
fn the_api_is_served_by_tls_and_its_certificate_changes_under_open_connections() {
    let folder = Folder::new("tls");
    let authority = Authority::new(&folder);
    let (first, second) = (authority.sign("first", 2), authority.sign("second", 2));
    // What the server is told of: files that change.
    let current = (folder.path().join("tls.pem"), folder.path().join("tls.key"));
    let put = |from: &(PathBuf, PathBuf)| {
        std::fs::copy(&from.0, &current.0).unwrap();
        std::fs::copy(&from.1, &current.1).unwrap();
    };
    put(&first);
    // A public address is let in now.
    let config = configured(&folder, &current, "0.0.0.0:0");
    let mut server = Server::start(&config);
    let told = server.line_with("the API is served");
    let address = address(&told).replace("0.0.0.0", "127.0.0.1");
    let made = Command::new(env!("CARGO_BIN_EXE_steadfast"))
        .args([
            "admin", "token", "create", "--name", "t", "--role", "viewer", "--config",
        ])
        .arg(&config)
        .output()
        .unwrap();
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let ca = folder.path().join("ca.pem");
    let ca = ca.to_str().unwrap();

    // Who knows the authority gets in, and nobody else.
    let known = status(&address, &["--ca", ca], &token);
    assert!(
        known.status.success(),
        "{}",
        String::from_utf8_lossy(&known.stderr)
    );
    let document: Value = serde_json::from_slice(&known.stdout).unwrap();
    assert_eq!(document["data"]["store"], "sqlite");
    let unknown = status(&address, &[], &token);
    assert_eq!(unknown.status.code(), Some(7));
    let unknown = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    assert!(unknown.contains("\"code\":\"SF-2307\""), "{unknown}");
    assert!(unknown.contains("with --ca"), "{unknown}");
    let in_clear = status_of(&format!("http://{address}"), &[], &token);
    assert_eq!(in_clear.status.code(), Some(7));
    let in_clear = String::from_utf8_lossy(&in_clear.stderr).into_owned();
    assert!(in_clear.contains("\"code\":\"SF-2308\""), "{in_clear}");
    assert!(in_clear.contains("ask it by https://"), "{in_clear}");
    // In clear nobody is answered.
    let mut clear = TcpStream::connect(&address).unwrap();
    clear
        .write_all(b"GET /api/v1/status HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let _ = clear.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");

    // A connection that stays open over the change.
    let mut open = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-quiet", "-CAfile", ca])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut say = open.stdin.take().unwrap();
    let mut hear = BufReader::new(open.stdout.take().unwrap());
    let mut ask = |more: &str| {
        write!(
            say,
            "GET /api/v1/openapi.json HTTP/1.1\r\nhost: x\r\n{more}\r\n"
        )
        .unwrap();
        say.flush().unwrap();
        let mut line = String::new();
        hear.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK\r\n");
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            hear.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        hear.read_exact(&mut body).unwrap();
    };
    ask("");
    assert_eq!(authority.served_by(&address), "first");

    put(&second);
    server.signal("HUP");
    server.line_with("the certificate expires soon");
    server.line_with("the certificate was read again");
    assert_eq!(authority.served_by(&address), "second");
    ask("");

    // What is wrong with a new one is told, and the one before stays.
    std::fs::copy(&first.1, &current.1).unwrap();
    server.signal("HUP");
    let told = server.line_with("the one before stays in force");
    assert!(told.contains("is not that of the certificate"), "{told}");
    assert_eq!(authority.served_by(&address), "second");

    // Without a signal, it is noticed.
    put(&first);
    server.line_with("the certificate was read again");
    assert_eq!(authority.served_by(&address), "first");
    ask("connection: close\r\n");
    let _ = open.wait();
    server.stop();
}

#[test]
fn ids_are_handed_out_by_tls_where_other_machines_reach_them() {
    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    let folder = Folder::new("tls-ids");
    let authority = Authority::new(&folder);
    let identity = authority.sign("ids", 2);
    let start = |guarded: &str| {
        let rest = format!(
            "[ids]\nlisten = \"0.0.0.0:0\"\ntoken = \"env:IDS_TOKEN\"\n{guarded}[generators.order]\n"
        );
        let mut server = Server::start_with(&folder.configure(&rest), &[("IDS_TOKEN", TOKEN)]);
        let told = server.line_with("ids are handed out");
        let address = address(&told).replace("0.0.0.0", "127.0.0.1");
        (server, address)
    };
    let next = |at: &str| {
        Command::new(env!("CARGO_BIN_EXE_steadfast"))
            .args(["ids", "next", "order", "--at", at])
            .env("STEADFAST_CA", folder.path().join("ca.pem"))
            .env("STEADFAST_IDS_TOKEN", TOKEN)
            .output()
            .unwrap()
    };

    let (server, address) = start(&keys(&identity));
    let seen = authority.served_by(&address);
    assert!(seen.contains("ids"), "{seen}");
    let told = next(&format!("https://{address}"));
    assert!(told.status.success(), "{told:?}");
    assert!(!next(&format!("http://{address}")).status.success());
    server.stop();

    // Somebody else encrypts.
    let (server, address) = start("behind_proxy = true\n");
    assert!(next(&format!("http://{address}")).status.success());
    server.stop();
}

#[test]
fn a_certificate_that_clients_would_refuse_is_refused_at_the_start() {
    let folder = Folder::new("tls-refused");
    let authority = Authority::new(&folder);
    let (well, expired) = (authority.sign("well", 90), authority.sign("expired", -1));
    let check = |identity: (PathBuf, PathBuf), expect: &str| {
        let config = configured(&folder, &identity, "127.0.0.1:0");
        let refused = output(&["--config", config.to_str().unwrap()]);
        let told = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{told}");
        assert!(
            told.contains("the certificate of [api] cannot be used"),
            "{told}"
        );
        assert!(told.contains(expect), "{expect}: {told}");
    };
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        path
    };

    check(
        (well.0.clone(), expired.1.clone()),
        "is not that of the certificate",
    );
    check(expired, "has expired");
    check(
        ("/no/such.pem".into(), well.1.clone()),
        "cannot read the certificate in /no/such.pem",
    );
    check(
        (well.0.clone(), "/no/such.key".into()),
        "cannot read the key in /no/such.key",
    );
    check(
        (file("empty", ""), well.1.clone()),
        "has no certificate in it",
    );
    check((well.0.clone(), file("empty", "")), "has no key in it");
    let damaged = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
    check((file("damaged", damaged), well.1.clone()), "is damaged");
    std::fs::set_permissions(&well.1, PermissionsExt::from_mode(0o644)).unwrap();
    check(
        (well.0.clone(), well.1.clone()),
        "every user of this machine can read the key",
    );

    // Half of it is no TLS, and told with its line.
    let config = folder.configure(&shell("nothing", "true", ""));
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[api]\n", "[api]\ntls_key = \"x\"\n")).unwrap();
    let refused = output(&["--config", config.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(78), "{told}");
    assert!(
        told.contains("there is no TLS without tls_certificate"),
        "{told}"
    );
    assert!(
        told.contains("fix: add tls_certificate = \"FILE\""),
        "{told}"
    );
}

#[tokio::test]
async fn a_target_by_https_is_called_if_its_authority_is_trusted() {
    let folder = Folder::new("tls-target");
    let authority = Authority::new(&folder);
    let port = target(&authority.sign("target", 90)).await;
    let handler = |name: &str, ca: &str| {
        format!(
            "[handlers.{name}]\nhttp = \"https://127.0.0.1:{port}/jobs\"\nsecret = \"env:S\"\nbackoff = \"100ms\"\nbackoff_max = \"100ms\"\nbreaker = 1000\n{ca}"
        )
    };
    let ca = format!("ca = \"{}\"\n", folder.path().join("ca.pem").display());
    let config = folder.configure(&format!(
        "{}{}",
        handler("known", &ca),
        handler("unknown", "")
    ));
    let secret = "s".repeat(32);
    let server = Server::start_with(&config, &[("S", &secret)]);
    let jobs = jobs(&folder).await;

    let known = enqueue(&jobs, "known", "null", 3).await;
    until_state(&jobs, known, State::Completed).await;
    let unknown = enqueue(&jobs, "unknown", "null", 1).await;
    let unknown = until_state(&jobs, unknown, State::Discarded).await;
    assert!(
        unknown
            .info
            .error
            .as_deref()
            .unwrap()
            .contains("UnknownIssuer"),
        "{unknown:?}"
    );

    server.stop();
    let config = folder.configure(&handler("nobody", "ca = \"/no/such.pem\"\n"));
    let refused = serve(&["--config", config.to_str().unwrap()])
        .env("S", &secret)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        told.contains("cannot read the certificates in /no/such.pem"),
        "{told}"
    );
}

/// A service behind TLS, which has done whatever it is asked for; gives its port.
async fn target((certificate, key): &(PathBuf, PathBuf)) -> u16 {
    let chain = CertificateDer::pem_file_iter(certificate).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(steadfast::spawn("target", async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Who does not trust us leaves here.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = vec![0; 16 * 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream
                .write_all(b"HTTP/1.1 204 Done\r\nconnection: close\r\n\r\n")
                .await;
            let _ = stream.shutdown().await;
        }
    }));
    port
}
