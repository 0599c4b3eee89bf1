//! The clients: one thread for each request that is under way, without anything between it and the
//! socket, so that they cost little beside who is measured.

use crate::contestant::PROXY;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// More than a client needs, for a thousand of them.
const STACK_BYTES: usize = 64 * 1024;

/// The longest answer, with its head.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Who asks for what, over how many connections.
pub(crate) struct Load {
    /// Sent in turn.
    pub(crate) heads: Arc<[Vec<u8>]>,
    pub(crate) connections: usize,
    /// How many requests are under way when as much goes through as can. The connections take turns.
    pub(crate) at_once: usize,
}

impl Load {
    /// Sends as much as goes through. `watch` runs meanwhile, once a quarter of `time` has passed,
    /// and may ask how many answers there were.
    pub(crate) fn closed(&self, time: Duration, watch: impl FnOnce(&dyn Fn() -> u64)) {
        let (answers, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let mut clients = self.clients();
        thread::scope(|scope| {
            for clients in clients.chunks_mut(self.connections.div_ceil(self.at_once)) {
                let (answers, stop) = (&answers, &stop);
                spawn(scope, move || {
                    while !stop.load(Ordering::Relaxed) {
                        for client in &mut *clients {
                            client.ask();
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            thread::sleep(time / 4);
            watch(&|| answers.load(Ordering::Relaxed));
            stop.store(true, Ordering::Relaxed);
        });
    }

    /// Sends `rate` requests per second, evenly, for `time`. Returns the sorted times from when
    /// each was due, whether or not its connection was free by then, to its whole answer.
    pub(crate) fn open(&self, rate: u32, time: Duration) -> Vec<Duration> {
        let clients = self.clients();
        let start = Instant::now() + Duration::from_millis(100);
        let step = Duration::from_secs(1) / rate;
        let connections = u32::try_from(self.connections).unwrap();
        let mut times = thread::scope(|scope| {
            let mut threads = Vec::new();
            for (number, mut client) in (0..connections).zip(clients) {
                threads.push(spawn(scope, move || {
                    // Sleep is late by this much, which is 50 µs by default.
                    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
                    let mut times = Vec::new();
                    let mut due = start + step * number;
                    while due < start + time {
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        client.ask();
                        times.push(due.elapsed());
                        due += step * connections;
                    }
                    times
                }));
            }
            threads.into_iter().flat_map(|it| it.join().unwrap()).collect::<Vec<_>>()
        });
        times.sort();
        times
    }

    /// Sends each head once.
    pub(crate) fn each_once(&self) {
        let each = self.heads.len().div_ceil(self.connections);
        thread::scope(|scope| {
            for mut client in self.clients() {
                spawn(scope, move || (0..each).for_each(|_| client.ask()));
            }
        });
    }

    fn clients(&self) -> Vec<Client> {
        // Each begins elsewhere, so that they do not all ask the same.
        let begin = |it: usize| it * self.heads.len() / self.connections;
        let client = |it| Client {
            stream: connect(),
            heads: Arc::clone(&self.heads),
            next: begin(it),
            buffer: vec![0; ANSWER_BYTES_MAX],
        };
        (0..self.connections).map(client).collect()
    }
}

fn spawn<'a, T: Send + 'a>(
    scope: &'a thread::Scope<'a, '_>,
    work: impl FnOnce() -> T + Send + 'a,
) -> thread::ScopedJoinHandle<'a, T> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work).unwrap()
}

fn connect() -> TcpStream {
    let stream = TcpStream::connect(PROXY).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

struct Client {
    stream: TcpStream,
    heads: Arc<[Vec<u8>]>,
    next: usize,
    buffer: Vec<u8>,
}

impl Client {
    /// Sends the next request and reads its answer, which must be 202.
    fn ask(&mut self) {
        let head = &self.heads[self.next];
        self.next = (self.next + 1) % self.heads.len();
        self.stream.write_all(head).unwrap();
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).unwrap();
            filled += read;
            let answer = &self.buffer[..filled];
            if read != 0 && !is_whole(answer) {
                continue;
            }
            let text = || String::from_utf8_lossy(answer);
            assert!(answer.starts_with(b"HTTP/1.1 202"), "{}", text());
            return;
        }
    }
}

/// Whether the answer's body is as long as its head says.
fn is_whole(answer: &[u8]) -> bool {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(head)) = response.parse(answer) else { return false };
    let length = response.headers.iter().find(|it| it.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|it| str::from_utf8(it.value).ok()?.parse::<usize>().ok());
    head + length.expect("a length") <= answer.len()
}
