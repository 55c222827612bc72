//! Connections: how many there may be at a time, whose, and how long a peer may take.
//!
//! A request's head must come within seconds, a connection on which nothing moves ends, and nobody
//! can take all places: neither one peer, nor all other machines together. Where places run out, the
//! oldest connection that never asked for anything gives way to a new one.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;

use super::tls::Tls;

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at a time.
    pub(super) total: usize,
    /// Of these, those of other machines; the rest is kept for this one.
    pub(super) remote: usize,
    /// Of these, those of one peer. All of this machine's addresses are one peer.
    pub(super) per_peer: usize,
    /// How long a request's head may take; also how long a connection may wait for its next request.
    pub(super) head: Duration,
    /// How long nothing may move.
    pub(super) idle: Duration,
    /// How long requests may take to finish after the stop.
    pub(super) grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: 256,
            remote: 224,
            per_peer: 128,
            head: Duration::from_secs(10),
            idle: Duration::from_mins(2),
            grace: Duration::from_secs(5),
        }
    }
}

/// Serves until `stop` is ready and requests under way are answered. Fails where nothing can be
/// accepted ever again.
pub(super) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let places = Places { limits, taken: Arc::default() };
    let (stopping, stopped) = watch::channel(());
    // Dropped at the end of this function, which ends what is left.
    let mut tasks = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_ended) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, addr)) => {
                // Without a place it is closed at once: whoever called may call again.
                let Some(place) = places.take(addr.ip()) else { continue };
                // Small answers go out at once; where that cannot be set they go out later.
                let _set = stream.set_nodelay(true);
                let acceptor = tls.as_ref().map(Tls::acceptor);
                let (router, stopped) = (router.clone(), stopped.clone());
                tasks.spawn(begin(stream, acceptor, router, place, limits, stopped));
            }
            // It does not listen any more, and will not again.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            Err(error) => {
                // Mostly out of descriptors: others must end first.
                tracing::warn!(%error, "the hub cannot accept a connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
    drop((listener, stopping));
    let rest = async { while tasks.join_next().await.is_some() {} };
    // What is still under way after the grace is cut off; agents send it again.
    let _late = tokio::time::timeout(limits.grace, rest).await;
    Ok(())
}

/// Begins a conversation, in TLS where there is an `acceptor`: the handshake may take as long as a
/// head, and gives way as a connection does that never asked for anything.
async fn begin(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    place: Place,
    limits: Limits,
    mut stopped: watch::Receiver<()>,
) {
    let plain = |stream| {
        let idle = Box::pin(tokio::time::sleep(limits.idle));
        Connection { stream, idle, limit: limits.idle }
    };
    let Some(acceptor) = acceptor else {
        return converse(plain(stream), router, place, limits, stopped).await;
    };
    let shake = async {
        if speaks_http(&stream).await {
            return tell_https(stream).await;
        }
        acceptor.accept(plain(stream)).await.ok()
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(limits.head, shake) => shaken,
        () = place.seat.leave.notified() => return,
        _stopping = stopped.changed() => return,
    };
    // How a handshake fails is its peer's affair.
    if let Ok(Some(stream)) = shaken {
        converse(stream, router, place, limits, stopped).await;
    }
}

/// Whether the first byte that comes is no TLS, which begins with a 22.
async fn speaks_http(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first[0].is_ascii_alphabetic()
}

/// To whoever speaks plain HTTP to a port of TLS.
async fn tell_https<T>(mut stream: TcpStream) -> Option<T> {
    const ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\n\
        content-length: 37\r\nconnection: close\r\n\r\nthis hub speaks HTTPS: use https://\r\n";
    // What was sent is read, or the answer would be thrown away with it.
    let mut head = [0; 4096];
    let _read = stream.read(&mut head).await;
    let _sent = stream.write_all(ANSWER).await;
    let _closed = stream.shutdown().await;
    None
}

/// Answers one connection's requests until it ends, must give way, or the hub stops.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    router: Router,
    place: Place,
    limits: Limits,
    mut stopped: watch::Receiver<()>,
) {
    let io = TokioIo::new(stream);
    let seat = place.seat.clone();
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request| {
        seat.heard.store(true, Ordering::Relaxed);
        router.call(request)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.head);
    let mut conversation = pin!(builder.serve_connection(io, service));
    // How a connection ends is its peer's affair.
    tokio::select! {
        _ended = conversation.as_mut() => return,
        () = place.seat.leave.notified() => return,
        // The other end never sends: it goes when the hub stops.
        _stopping = stopped.changed() => {}
    }
    conversation.as_mut().graceful_shutdown();
    let _ended = conversation.await;
}

/// Who is connected, oldest first.
#[derive(Default)]
struct Taken {
    next: u64,
    seats: BTreeMap<u64, Arc<Seat>>,
}

struct Seat {
    peer: IpAddr,
    /// A whole head of a request has come.
    heard: AtomicBool,
    leave: Notify,
}

struct Places {
    limits: Limits,
    taken: Arc<Mutex<Taken>>,
}

/// One connection's place; free again when dropped.
struct Place {
    id: u64,
    seat: Arc<Seat>,
    taken: Arc<Mutex<Taken>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        hold(&self.taken).seats.remove(&self.id);
    }
}

/// Nothing that is done under the lock can leave it half done.
fn hold(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    fn take(&self, ip: IpAddr) -> Option<Place> {
        let peer = peer_of(ip);
        let mut taken = hold(&self.taken);
        taken.make_room(self.limits.per_peer, |other| other == peer)?;
        if !peer.is_loopback() {
            taken.make_room(self.limits.remote, |other| !other.is_loopback())?;
        }
        taken.make_room(self.limits.total, |_| true)?;
        let id = taken.next;
        taken.next += 1;
        let seat = Arc::new(Seat { peer, heard: AtomicBool::new(false), leave: Notify::new() });
        taken.seats.insert(id, seat.clone());
        Some(Place { id, seat, taken: self.taken.clone() })
    }
}

impl Taken {
    /// Sees that fewer than `most` places are taken by those who are `alike`; `None` where all of
    /// them are in use.
    fn make_room(&mut self, most: usize, alike: impl Fn(IpAddr) -> bool) -> Option<()> {
        if self.seats.values().filter(|seat| alike(seat.peer)).count() < most {
            return Some(());
        }
        let silent = |seat: &Seat| alike(seat.peer) && !seat.heard.load(Ordering::Relaxed);
        let id = self.seats.iter().find(|(_, seat)| silent(seat)).map(|(id, _)| *id)?;
        self.seats.remove(&id)?.leave.notify_one();
        Some(())
    }
}

/// Whom an address stands for: this machine is one, and so is a network of IPv6, in which anybody
/// has as many addresses as they like.
fn peer_of(ip: IpAddr) -> IpAddr {
    let ip = ip.to_canonical();
    if ip.is_loopback() {
        return IpAddr::V4(Ipv4Addr::LOCALHOST);
    }
    match ip {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A stream that ends when nothing moves on it for too long.
struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    limit: Duration,
}

impl Connection {
    /// Starts the idle time anew after progress, or ends the connection when it is over.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        polled: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.idle.as_mut().reset(Instant::now() + self.limit);
            return polled;
        }
        match self.idle.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.watch(cx, polled)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    use super::*;

    const BOUND: Duration = Duration::from_secs(20);

    /// Serves `/` on a port of its own until the sender goes.
    async fn start(limits: Limits) -> (std::net::SocketAddr, oneshot::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "here" }));
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, None, router, limits, async {
            let _gone = stopped.await;
        }));
        (addr, stop)
    }

    async fn ask(addr: std::net::SocketAddr) -> String {
        let asked = async {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            let head = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        tokio::time::timeout(BOUND, asked).await.expect("an answer")
    }

    #[tokio::test]
    async fn many_who_say_nothing_do_not_keep_others_out() {
        let (addr, _stop) = start(Limits::default()).await;
        let mut silent = Vec::new();
        for _ in 0..300 {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            // Those that had to give way already cannot be written to.
            let _sent = stream.write_all(b"G").await;
            silent.push(stream);
        }
        assert!(ask(addr).await.ends_with("here"));
    }

    #[tokio::test]
    async fn a_head_that_drips_in_is_not_waited_for() {
        let limits = Limits { head: Duration::from_millis(300), ..Limits::default() };
        let (addr, _stop) = start(limits).await;
        let (mut read, mut write) = TcpStream::connect(addr).await.unwrap().into_split();
        // Something moves all the time, so it is not for being idle that it ends.
        let dripping = tokio::spawn(async move {
            let mut every = tokio::time::interval(Duration::from_millis(20));
            write.write_all(b"GET / HTTP/1.1\r\nX: ").await.unwrap();
            while write.write_all(b"x").await.is_ok() {
                every.tick().await;
            }
        });
        let mut bytes = Vec::new();
        let ended = tokio::time::timeout(BOUND, read.read_to_end(&mut bytes)).await;
        assert!(ended.is_ok(), "still open");
        assert!(!String::from_utf8_lossy(&bytes).contains("here"));
        dripping.abort();
    }

    #[test]
    fn nobody_takes_all_places() {
        let limits = Limits { total: 10, remote: 8, per_peer: 4, ..Limits::default() };
        let places = Places { limits, taken: Arc::default() };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let come = |text: &str| {
            let place = places.take(ip(text))?;
            place.seat.heard.store(true, Ordering::Relaxed);
            Some(place)
        };
        let mut held: Vec<Place> = (0..4).map(|_| come("192.0.2.1").unwrap()).collect();
        assert!(come("192.0.2.1").is_none(), "one peer has its share");
        assert!(come("::ffff:192.0.2.1").is_none(), "by any name");
        for n in 0..4 {
            held.push(come(&format!("2001:db8::{n}")).unwrap());
        }
        assert!(come("2001:db8::9").is_none(), "a network is one peer");
        assert!(come("192.0.2.2").is_none(), "the rest is for this machine");
        held.push(come("127.0.0.1").unwrap());
        let silent = places.take(ip("::1")).unwrap();
        assert!(come("127.0.0.2").is_some(), "who says nothing gives way");
        drop(silent);
        held.push(come("127.0.0.1").unwrap());
        assert!(come("127.0.0.1").is_none(), "all are in use");
        held.clear();
        assert!(hold(&places.taken).seats.is_empty());
        assert!(come("192.0.2.2").is_some());
    }
}
