//! Uploads through a proxy: the whole agent, a proxy that the test plays, and hubs behind it that
//! only the proxy could reach.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio_rustls::rustls::{self, ServerConfig};

use crate::support::{PATIENCE, Site};

/// What must be in no log, status or error.
const PASSWORD: &str = "pa55word";

/// `me:pa55word` as a proxy is told.
const LOGIN: &str = "Basic bWU6cGE1NXdvcmQ=";

/// One request as a server saw it: its first line, and the login for a proxy that came with it.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    login: Option<String>,
}

/// A server that is a hub, a proxy, or both: what it does is said by `answer`.
#[derive(Clone)]
struct Server {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// What a server does with a request.
#[derive(Clone)]
enum Answer {
    /// Takes uploads as a hub does, whomever they are for: a proxy that is close to it.
    Hub,
    /// Refuses with this status line.
    Refuse(&'static str),
    /// Refuses this many requests, and takes uploads from then on.
    RefuseFirst(usize, &'static str),
    /// Opens tunnels to a hub that speaks TLS, whatever name they are for.
    Tunnel(Arc<ServerConfig>),
}

impl Server {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let server = Self { addr, seen: Arc::default() };
        let shared = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (server, answer) = (shared.clone(), answer.clone());
                // A client that goes away in between is no failure of the server.
                std::thread::spawn(move || drop(server.serve(stream, &answer)));
            }
        });
        server
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn serve(&self, stream: TcpStream, answer: &Answer) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some((seen, body)) = read_request(&mut reader)? {
            let nth = {
                let mut all = self.seen.lock().unwrap();
                all.push(seen);
                all.len()
            };
            match answer {
                Answer::Refuse(status) => refuse(&mut writer, status)?,
                Answer::RefuseFirst(n, status) if nth <= *n => refuse(&mut writer, status)?,
                Answer::Hub | Answer::RefuseFirst(..) => take(&mut writer, &body)?,
                Answer::Tunnel(tls) => {
                    writer.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
                    let connection = rustls::ServerConnection::new(Arc::clone(tls))
                        .map_err(std::io::Error::other)?;
                    let mut tls = BufReader::new(rustls::StreamOwned::new(connection, writer));
                    while let Some((seen, body)) = read_request(&mut tls)? {
                        self.seen.lock().unwrap().push(seen);
                        take(tls.get_mut(), &body)?;
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<(Seen, Vec<u8>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut seen = Seen { line: line.trim().to_owned(), login: None };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().map_err(std::io::Error::other)?,
            "proxy-authorization" => seen.login = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((seen, body)))
}

/// Says that all reports of a batch are stored.
fn take(writer: &mut impl Write, body: &[u8]) -> std::io::Result<()> {
    let batch: Value = serde_json::from_slice(body)?;
    let reports = batch["reports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let through = reports.last().map(|report| report["seq"].clone()).unwrap_or_default();
    let reply = serde_json::json!({
        "through": through, "accepted": reports.len(), "duplicates": 0, "refused": []
    })
    .to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
    write!(writer, "{head} {}\r\n\r\n{reply}", reply.len())?;
    writer.flush()
}

fn refuse(writer: &mut TcpStream, status: &str) -> std::io::Result<()> {
    write!(writer, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")
}

/// A site whose one plugin goes to the output `main` at `url`.
fn site(url: &str, more: &str) -> Site {
    let site = Site::new();
    site.script("beat", "echo '{\"up\": 1}'");
    site.write("key", "k3y\n", 0o600);
    site.configure(&format!(
        "[plugins.beat]\ncommand = [\"./beat\"]\ninterval = \"200ms\"\n\
         [outputs.main]\ntype = \"talaia\"\nurl = \"{url}\"\nkey = {{ file = \"key\" }}\n\
         interval = \"100ms\"\ncompression = \"none\"\nstart = \"oldest\"\n{more}\n"
    ));
    site
}

/// Starts the agent with these variables. It says all that it could ever say.
fn start(site: &mut Site, vars: &[(&str, &str)]) -> u32 {
    let mut command = site.command(&["run", "-vv", "--config", "talaia.toml"]);
    command.envs(vars.iter().copied());
    site.start(command, "agent.log")
}

fn proxy_at(server: &Server) -> String {
    format!("http://me:{PASSWORD}@{}", server.addr)
}

fn output<'a>(status: &'a Value, name: &str) -> &'a Value {
    &status["outputs"][name]
}

#[track_caller]
fn until_delivered(site: &Site, name: &str) {
    site.until("delivery", |site| {
        let status = site.status()?;
        (output(&status, name)["delivered"].as_u64()? > 0).then_some(())
    });
}

/// What the output says of itself once it is in `state`, which is in no other line.
#[track_caller]
fn until_state(site: &Site, state: &str) -> String {
    site.until(state, |site| {
        let status = site.status()?;
        let main = output(&status, "main");
        (main["state"] == state).then(|| main["error"].as_str().unwrap_or_default().to_owned())
    })
}

/// Nothing that was said, shown or kept has the password in it.
#[track_caller]
fn no_password(site: &Site) {
    let status = site.status().map(|status| status.to_string()).unwrap_or_default();
    for (what, text) in [("log", site.read("agent.log")), ("status", status)] {
        assert!(!text.contains(PASSWORD) && !text.contains("bWU6cGE1NXdvcmQ"), "{what}: {text}");
    }
}

#[test]
fn an_upload_in_clear_goes_through_the_proxy_of_the_environment() {
    let proxy = Server::start(Answer::Hub);
    let mut site = site("http://hub.invalid:8080", "");
    let pid = start(&mut site, &[("HTTP_PROXY", &proxy_at(&proxy))]);
    until_delivered(&site, "main");
    no_password(&site);
    assert!(site.stop(pid).success());
    let seen = proxy.seen();
    for request in &seen {
        assert_eq!(request.line, "POST http://hub.invalid:8080/api/v1/ingest HTTP/1.1");
        assert_eq!(request.login.as_deref(), Some(LOGIN));
    }
    site.ledger();
}

#[test]
fn an_encrypted_upload_goes_through_a_tunnel_that_the_proxy_cannot_look_into() {
    let made = rcgen::generate_simple_self_signed(["hub.invalid".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let proxy = Server::start(Answer::Tunnel(Arc::new(config)));
    let mut site = site("https://hub.invalid", "ca = \"ca.pem\"");
    site.write("ca.pem", made.cert.pem(), 0o644);
    // Lower case is as good, and an address without a scheme is a proxy's too.
    let address = proxy_at(&proxy).replace("http://", "");
    let pid = start(&mut site, &[("https_proxy", &address), ("HTTP_PROXY", "http://127.0.0.1:9")]);
    until_delivered(&site, "main");
    no_password(&site);
    assert!(site.stop(pid).success());
    let seen = proxy.seen();
    let (tunnels, uploads): (Vec<&Seen>, Vec<&Seen>) =
        seen.iter().partition(|seen| seen.line.starts_with("CONNECT "));
    assert!(!tunnels.is_empty() && !uploads.is_empty(), "{seen:?}");
    for tunnel in tunnels {
        assert_eq!(tunnel.line, "CONNECT hub.invalid:443 HTTP/1.1");
        assert_eq!(tunnel.login.as_deref(), Some(LOGIN));
    }
    for upload in uploads {
        assert_eq!(upload.line, "POST /api/v1/ingest HTTP/1.1");
        assert_eq!(upload.login, None, "the proxy's login is not the hub's business");
    }
}

#[test]
fn this_machine_is_never_reached_through_a_proxy() {
    let (hub, proxy) = (Server::start(Answer::Hub), Server::start(Answer::Refuse("502 Bad")));
    let address = proxy_at(&proxy);
    let vars = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, address.as_str()));
    for host in ["127.0.0.1", "localhost"] {
        let mut site = site(&format!("http://{host}:{}", hub.addr.port()), "");
        let pid = start(&mut site, &vars);
        until_delivered(&site, "main");
        site.stop(pid);
    }
    // The hub of the agent's own.
    let mut site = Site::new();
    site.script("beat", "echo '{\"up\": 1}'");
    site.configure(
        "[plugins.beat]\ncommand = [\"./beat\"]\ninterval = \"200ms\"\n\
         [hub]\nlisten = \"127.0.0.1:0\"\n",
    );
    let pid = start(&mut site, &vars);
    until_delivered(&site, "embedded");
    site.stop(pid);
    assert!(proxy.seen().is_empty(), "{:?}", proxy.seen());
}

#[test]
fn no_proxy_names_what_is_reached_straight() {
    // Every system takes this address for itself, but it is not one of loopback: only `NO_PROXY`
    // keeps it from the proxy.
    let hub = Server::start(Answer::Hub);
    let url = format!("http://0.0.0.0:{}", hub.addr.port());
    let proxy = Server::start(Answer::Refuse("502 Bad Gateway"));
    let address = proxy_at(&proxy);
    for (no_proxy, more, straight) in [
        ("example.org, 0.0.0.0/8", "", true),
        ("*", "", true),
        ("", "proxy = false", true),
        ("example.org", "", false),
    ] {
        let before = hub.seen().len();
        let mut site = site(&url, more);
        let pid = start(&mut site, &[("HTTP_PROXY", &address), ("NO_PROXY", no_proxy)]);
        if straight {
            until_delivered(&site, "main");
            assert!(hub.seen().len() > before && proxy.seen().is_empty(), "{no_proxy}");
        } else {
            until_state(&site, "retry");
            assert!(hub.seen().len() == before && !proxy.seen().is_empty(), "{no_proxy}");
        }
        site.stop(pid);
    }
}

#[test]
fn a_proxy_that_wants_another_login_holds_the_output() {
    let status = "407 Proxy Authentication Required";
    for url in ["http://hub.invalid", "https://hub.invalid"] {
        let proxy = Server::start(Answer::Refuse(status));
        let mut site = site(url, "");
        let address = proxy_at(&proxy);
        let pid = start(&mut site, &[("ALL_PROXY", &address)]);
        let why = until_state(&site, "hold");
        assert!(why.contains("proxy") && why.contains("login"), "{url}: {why}");
        no_password(&site);
        site.stop(pid);
        let said = site.read("agent.log");
        let lines: Vec<&str> = said.lines().filter(|line| line.contains("login")).collect();
        assert_eq!(lines.len(), 1, "one line for one change of state: {lines:?}");
        let ledger = site.ledger();
        let main = &ledger["outputs"]["main"];
        assert_eq!(main["accepted"], main["spooled"], "nothing is given up: {main}");
    }
}

#[test]
fn a_proxy_that_does_not_get_through_is_tried_again() {
    for url in ["http://hub.invalid", "https://hub.invalid"] {
        let proxy = Server::start(Answer::Refuse("502 Bad Gateway"));
        let mut site = site(url, "");
        let address = proxy_at(&proxy);
        let pid = start(&mut site, &[("ALL_PROXY", &address)]);
        let why = until_state(&site, "retry");
        assert!(why.contains("proxy"), "{url}: {why}");
        no_password(&site);
        site.stop(pid);
    }
    let proxy = Server::start(Answer::RefuseFirst(1, "502 Bad Gateway"));
    let mut site = site("http://hub.invalid", "");
    let pid = start(&mut site, &[("HTTP_PROXY", &proxy_at(&proxy))]);
    until_delivered(&site, "main");
    site.stop(pid);
    let ledger = site.ledger();
    let main = &ledger["outputs"]["main"];
    assert_eq!(main["accepted"], main["delivered"], "a stop delivers what is spooled: {main}");
}

#[test]
fn a_variable_that_names_no_proxy_is_an_error_that_does_not_show_it() {
    let site = site("https://hub.invalid", "");
    for wrong in [format!("socks5://me:{PASSWORD}@proxy:1080"), format!("me:{PASSWORD}@:x")] {
        let mut command = site.command(&["check", "--config", "talaia.toml"]);
        command.env("HTTPS_PROXY", &wrong);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("HTTPS_PROXY") && !said.contains(PASSWORD), "{said}");
        assert!(!output.status.success());
    }
}
