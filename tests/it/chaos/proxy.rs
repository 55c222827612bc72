//! What is between an agent and its hub when the network is bad: an HTTP proxy that delays, cuts,
//! swallows, repeats and lies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Dice;

/// Longer than the agent waits for a reply, and short enough that no thread outlives a test.
const PATIENCE: Duration = Duration::from_secs(8);

/// What happens to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weather {
    /// They arrive, and so do the replies.
    Calm,
    /// About half of them meet a fault.
    Mixed,
    /// Nothing gets through.
    Dark,
    /// The gateway has a problem with all of them.
    Storm,
}

/// What happens to one request.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// It arrives late.
    Delay,
    /// Half of it arrives.
    CutRequest,
    /// It arrives; the connection ends without a reply.
    LoseReply,
    /// It arrives; half of the reply comes back.
    CutReply,
    /// Neither arrives, and nobody says so.
    BlackHole,
    /// A gateway answers in the hub's stead.
    Unavailable,
    /// So it does, with a wish.
    TooMany,
    /// The reply comes a byte at a time.
    Drip,
    /// What comes back is no HTTP.
    Garbage,
    /// What comes back is a login page.
    Portal,
    /// It arrives twice; the second reply comes back.
    Twice,
    /// It arrives twice, the second time when the agent is long past it.
    Echo,
}

const FAULTS: [Fault; 12] = [
    Fault::Delay,
    Fault::CutRequest,
    Fault::LoseReply,
    Fault::CutReply,
    Fault::BlackHole,
    Fault::Unavailable,
    Fault::TooMany,
    Fault::Drip,
    Fault::Garbage,
    Fault::Portal,
    Fault::Twice,
    Fault::Echo,
];

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Delay => "request delayed",
            Self::CutRequest => "request cut",
            Self::LoseReply => "reply lost",
            Self::CutReply => "reply cut",
            Self::BlackHole => "black hole",
            Self::Unavailable => "answer 503",
            Self::TooMany => "answer 429",
            Self::Drip => "reply dripped",
            Self::Garbage => "reply of garbage",
            Self::Portal => "captive portal",
            Self::Twice => "request doubled",
            Self::Echo => "request echoed late",
        }
    }
}

struct Shared {
    /// Where the hub writes its address.
    credentials: PathBuf,
    weather: Mutex<Weather>,
    dice: Mutex<Dice>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stop: AtomicBool,
}

/// The proxy. It ends when it is dropped.
pub(super) struct Proxy {
    pub(super) url: String,
    shared: Arc<Shared>,
    accept: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A calm one before the hub that writes `credentials`.
    pub(super) fn start(credentials: PathBuf, dice: Dice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            credentials,
            weather: Mutex::new(Weather::Calm),
            dice: Mutex::new(dice),
            faults: Mutex::default(),
            threads: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let inside = Arc::clone(&shared);
        let accept = std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if inside.stop.load(Ordering::Relaxed) {
                    return;
                }
                let each = Arc::clone(&inside);
                let thread = std::thread::spawn(move || serve(client, &each));
                let mut threads = inside.threads.lock().unwrap();
                threads.retain(|thread| !thread.is_finished());
                threads.push(thread);
            }
        });
        Self { url, shared, accept: Some(accept) }
    }

    pub(super) fn set(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap() = weather;
    }

    /// How often each fault was met.
    pub(super) fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.shared.faults.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // A connection of our own ends the wait for one.
        let address = self.url.trim_start_matches("http://");
        drop(TcpStream::connect(address));
        if let Some(accept) = self.accept.take() {
            drop(accept.join());
        }
        let threads = std::mem::take(&mut *self.shared.threads.lock().unwrap());
        for thread in threads {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn fault(&self) -> Fault {
        let fault = match *self.weather.lock().unwrap() {
            Weather::Calm => Fault::None,
            Weather::Dark => Fault::BlackHole,
            Weather::Storm => Fault::Unavailable,
            Weather::Mixed => {
                let mut dice = self.dice.lock().unwrap();
                if dice.below(2) == 0 {
                    Fault::None
                } else {
                    FAULTS[dice.below(FAULTS.len() as u64) as usize]
                }
            }
        };
        if !matches!(fault, Fault::None) {
            *self.faults.lock().unwrap().entry(fault.name()).or_default() += 1;
        }
        fault
    }

    fn connect(&self) -> Option<TcpStream> {
        let text = std::fs::read(&self.credentials).ok()?;
        let credentials: serde_json::Value = serde_json::from_slice(&text).ok()?;
        let hub = TcpStream::connect(credentials["url"].as_str()?.strip_prefix("http://")?).ok()?;
        hub.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(hub)
    }

    /// The hub's reply, if it is there to give one.
    fn forward(&self, request: &[u8]) -> Option<Vec<u8>> {
        let mut hub = self.connect()?;
        hub.write_all(request).ok()?;
        message(&mut hub)
    }
}

/// One request or reply: a head, and as much body as it says.
fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 << 10];
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0);
    while bytes.len() < head + length {
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => bytes.extend_from_slice(&chunk[..n]),
            _ => return None,
        }
    }
    Some(bytes)
}

fn serve(mut client: TcpStream, shared: &Arc<Shared>) {
    drop(client.set_read_timeout(Some(PATIENCE)));
    while let Some(request) = message(&mut client) {
        if one(&mut client, shared, &request).is_none() {
            break;
        }
    }
    drop(client.shutdown(Shutdown::Both));
}

/// `None` when the connection is to end.
fn one(client: &mut TcpStream, shared: &Arc<Shared>, request: &[u8]) -> Option<()> {
    match shared.fault() {
        Fault::None => client.write_all(&shared.forward(request)?).ok(),
        Fault::Delay => {
            std::thread::sleep(Duration::from_millis(300));
            client.write_all(&shared.forward(request)?).ok()
        }
        Fault::CutRequest => {
            shared.connect()?.write_all(&request[..request.len() / 2]).ok()?;
            None
        }
        Fault::LoseReply => {
            shared.forward(request)?;
            None
        }
        Fault::CutReply => {
            let reply = shared.forward(request)?;
            client.write_all(&reply[..reply.len() / 2]).ok()?;
            None
        }
        Fault::BlackHole => {
            // Until the other side has had enough.
            let mut rest = [0; 1024];
            while client.read(&mut rest).ok()? > 0 {}
            None
        }
        Fault::Unavailable => {
            let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
            client.write_all(answer.as_bytes()).ok()
        }
        Fault::TooMany => {
            let answer =
                "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
            client.write_all(answer.as_bytes()).ok()
        }
        Fault::Drip => {
            for byte in shared.forward(request)? {
                client.write_all(&[byte]).ok()?;
                std::thread::sleep(Duration::from_millis(2));
            }
            Some(())
        }
        Fault::Garbage => {
            let noise: Vec<u8> = (0..300).map(|n| (n * 37 % 251) as u8).collect();
            client.write_all(&noise).ok()?;
            None
        }
        Fault::Portal => {
            let page = "<html><title>Welcome to the Wi-Fi</title></html>";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
                page.len()
            );
            client.write_all(answer.as_bytes()).ok()
        }
        Fault::Twice => {
            shared.forward(request)?;
            client.write_all(&shared.forward(request)?).ok()
        }
        Fault::Echo => {
            let reply = shared.forward(request)?;
            let (again, request) = (Arc::clone(shared), request.to_owned());
            let echo = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(700));
                // The hub may be gone by then; that is part of it.
                drop(again.forward(&request));
            });
            shared.threads.lock().unwrap().push(echo);
            client.write_all(&reply).ok()
        }
    }
}
