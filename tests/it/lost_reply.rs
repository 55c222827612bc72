//! A reply that is lost on its way: what the hub refused stays refused in the agent's ledger.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::support::Site;

/// Whether the first reply was taken out of the way.
static DROPPED: AtomicBool = AtomicBool::new(false);

/// A way to `hub` on which the first reply is lost. Ends with the process.
fn proxy(hub: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(hub) else { continue };
            let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) else { continue };
            std::thread::spawn(move || pass(from, to, |_| true));
            std::thread::spawn(move || {
                pass(server, client, |_| DROPPED.swap(true, Ordering::SeqCst));
            });
        }
    });
    addr
}

/// Carries bytes while `on` says so; then, or at the end, both sides are closed.
fn pass(mut from: TcpStream, mut to: TcpStream, on: impl Fn(&[u8]) -> bool) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(n) = from.read(&mut bytes)
        && n > 0
        && on(&bytes[..n])
        && to.write_all(&bytes[..n]).is_ok()
    {}
    for side in [from, to] {
        // It may be closed already.
        let _closed = side.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_refusal_whose_reply_was_lost_is_no_delivery() {
    let mut site = Site::new();
    let hub = site.command(&["hub", "--listen", "127.0.0.1:0", "--data-dir", "hub"]);
    let hub = site.start(hub, "hub.log");
    let credentials: Value = site.until("the hub's credentials", |site| {
        serde_json::from_str(&site.read("hub/credentials.json")).ok()
    });
    let addr = credentials["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let way = proxy(addr.parse().unwrap());
    site.write("key", credentials["key"].as_str().unwrap(), 0o600);
    site.script("one.sh", "echo '{\"a\":1}'");
    site.configure(&format!(
        "[hub]\nenabled = false\n\
         [outputs.main]\ntype = 'talaia'\nurl = 'http://{way}'\nkey = {{ file = 'key' }}\n\
         interval = '500ms'\nproxy = false\n\
         [plugins.known]\ncommand = ['./one.sh']\ninterval = '100ms'\n\
         [plugins.stranger]\ncommand = ['./one.sh']\ninterval = '100ms'\n\
         key = '0192f0c1-0000-7000-8000-000000000001'\n"
    ));
    let agent = site.start_agent();
    // Enough that what went with the lost reply is long settled.
    let count = |site: &Site, what: &str| {
        site.status()?.pointer(&format!("/outputs/main/{what}"))?.as_u64()
    };
    site.until("deliveries after the loss", |site| {
        let enough = count(site, "delivered")? >= 30 && count(site, "evicted/refused")? >= 10;
        (DROPPED.load(Ordering::SeqCst) && enough).then_some(())
    });
    // No more runs, and nothing left to deliver.
    let without = site.read("talaia.toml").replace("'100ms'", "'100ms'\nenabled = false");
    site.write("talaia.toml", without, 0o644);
    site.talaia(&["reload", "--config", "talaia.toml"]).code(0);
    site.until("an empty spool", |site| {
        let running = site.status()?.pointer("/agent/running")?.as_u64()?;
        (running == 0 && count(site, "spooled")? == 0).then_some(())
    });
    assert!(site.stop(agent).success());

    let ledger = site.ledger();
    let accepted = |plugin: &str| ledger["plugins"][plugin]["accepted"].as_u64().unwrap();
    let main = &ledger["outputs"]["main"];
    assert_eq!(main["evicted"]["refused"].as_u64(), Some(accepted("stranger")), "{ledger}");
    assert_eq!(main["delivered"].as_u64(), Some(accepted("known")), "{ledger}");
    assert!(site.stop(hub).success());
}
