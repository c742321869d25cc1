//! The events of the feature `tracing`: each comes at its level, with its target and fields, to whoever subscribes.

pub mod support;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::dir::{Dir, beside};
use support::sockets::put_dead;
use support::wait::Worker;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span, subscriber};
use unix_stream_server::{Builder, LockScope, ServerSocket, Status};

const LOCK: &str = "unix_stream_server::lock";
const VERDICT: &str = "unix_stream_server::verdict";
const SOCKET: &str = "unix_stream_server::socket";
const STATUS: &str = "unix_stream_server::status";

/// What was told: level, target, fields by name; the message is one of them.
#[derive(Clone, Debug)]
struct Told {
    level: Level,
    target: String,
    fields: BTreeMap<String, String>,
}

impl Told {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

impl Visit for Told {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Told>>>);

impl Subscriber for Collector {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut told = Told { level: *metadata.level(), target: metadata.target().to_owned(), fields: BTreeMap::new() };
        event.record(&mut told);
        self.0.lock().expect("not poisoned").push(told);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// All that is told in this thread meanwhile.
fn told(work: impl FnOnce()) -> Vec<Told> {
    let collector = Collector::default();
    subscriber::with_default(collector.clone(), work);
    let told = collector.0.lock().expect("not poisoned");
    told.clone()
}

/// The one event with this message.
#[track_caller]
fn the<'a>(told: &'a [Told], level: Level, target: &str, message: &str) -> &'a Told {
    let found: Vec<_> = told.iter().filter(|told| told.field("message") == Some(message)).collect();
    assert_eq!(found.len(), 1, "{message}: {told:#?}");
    assert_eq!((found[0].level, found[0].target.as_str()), (level, target));
    found[0]
}

fn try_once() -> Builder {
    ServerSocket::builder().lock_timeout(Duration::ZERO)
}

#[test]
fn each_event_names_its_path() {
    let dir = Dir::new();
    let path = dir.join("s");
    put_dead(&path);
    let told = told(|| {
        ServerSocket::create(&path).expect("a server").close().expect("closed");
    });
    assert!(told.len() >= 4, "{told:#?}");
    let shown = path.to_str().expect("UTF-8");
    assert!(told.iter().all(|told| told.field("path") == Some(shown)), "{told:#?}");
}

#[test]
fn a_dead_socket_is_judged_and_removed_and_its_server_listens_and_ends() {
    let dir = Dir::new();
    let path = dir.join("s");
    put_dead(&path);
    let told = told(|| {
        ServerSocket::create(&path).expect("a server").close().expect("closed");
    });
    let judged = the(&told, Level::DEBUG, VERDICT, "looked at what stands there");
    assert_eq!((judged.field("name"), judged.field("state")), (Some("s"), Some("dead")));
    let removed = the(&told, Level::INFO, SOCKET, "removed the socket that a dead server left");
    assert_eq!(removed.field("name"), Some("s"));
    the(&told, Level::INFO, SOCKET, "listening");
    let ended = the(&told, Level::INFO, SOCKET, "ended");
    assert_eq!((ended.field("how"), ended.field("status")), (Some("close"), Some("ours")));
}

#[test]
fn a_live_server_is_the_verdict_of_a_start_that_is_refused() {
    let dir = Dir::new();
    let path = dir.join("s");
    let _server = ServerSocket::create(&path).expect("a server");
    let told = told(|| drop(ServerSocket::create(&path).unwrap_err()));
    let judged = the(&told, Level::DEBUG, VERDICT, "looked at what stands there");
    assert!(judged.field("state").is_some_and(|state| state.starts_with("live")), "{judged:?}");
}

#[test]
fn a_wait_for_the_lock_is_told_once_with_its_holder_and_its_end() {
    let dir = Dir::new();
    let path = dir.join("s");
    let claim = try_once().claim(&path).expect("a claim");
    let events = told(|| drop(try_once().create(&path).unwrap_err()));
    let begin = the(&events, Level::INFO, LOCK, "waiting for the lock");
    assert_eq!((begin.field("lock"), begin.field("held_by")), (Some("s.lock"), Some("a process")));
    if support::locks_are_listed(dir.path()) {
        assert_eq!(begin.field("pid"), Some(std::process::id().to_string().as_str()));
    }
    let end = the(&events, Level::INFO, LOCK, "did not get the lock");
    assert!(end.field("error").is_some_and(|error| error.contains("s.lock")) && end.field("waited_us").is_some());
    // Had in the end: the holder goes when somebody is seen to wait, here by the event of it.
    let collector = Collector::default();
    let waits = collector.clone();
    let other = path.clone();
    let worker = Worker::start(move || {
        let patient = ServerSocket::builder().lock_timeout(Duration::from_secs(24 * 60 * 60));
        subscriber::with_default(waits, || drop(patient.create(&other).expect("a server")));
    });
    support::wait::until("it waits", || {
        let told = collector.0.lock().expect("not poisoned");
        told.iter().any(|told| told.field("message") == Some("waiting for the lock"))
    });
    drop(claim);
    let () = worker.result();
    let events = collector.0.lock().expect("not poisoned").clone();
    assert!(the(&events, Level::INFO, LOCK, "got the lock").field("waited_us").is_some());
}

#[test]
fn a_lock_that_was_had_at_once_tells_nothing() {
    let dir = Dir::new();
    let told = told(|| drop(ServerSocket::create(dir.join("s")).expect("a server")));
    assert!(told.iter().all(|told| told.target != LOCK), "{told:#?}");
}

#[test]
fn a_dead_holders_lock_is_taken_over_aloud() {
    let dir = Dir::new();
    let path = dir.join("s");
    support::dir::put_file(&beside(&path, ".lock"), b"", 0o1400);
    let told = told(|| drop(ServerSocket::create(&path).expect("a server")));
    let taken = the(&told, Level::INFO, LOCK, "took over the lock that a dead holder left");
    assert_eq!(taken.field("lock"), Some("s.lock"));
}

#[test]
fn a_loss_is_told_once_however_often_it_is_asked_for_and_again_after_it_was_back() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("a server");
    let away = dir.join("away");
    let events = told(|| {
        assert_eq!(server.status(), Status::Ours);
        fs::rename(&path, &away).expect("renamed");
        assert!(server.was_stolen() && server.was_stolen());
    });
    assert_eq!(the(&events, Level::WARN, STATUS, "the path was lost").field("status"), Some("gone"));
    let events = told(|| {
        fs::rename(&away, &path).expect("renamed");
        assert!(!server.was_stolen());
        fs::rename(&path, &away).expect("renamed");
        fs::write(&path, "").expect("a file");
        assert!(server.was_stolen());
        assert_eq!(server.close().expect("closed"), Status::Replaced);
    });
    assert_eq!(the(&events, Level::WARN, STATUS, "the path was lost").field("status"), Some("replaced"));
    let ended = the(&events, Level::WARN, SOCKET, "ended; the path was not ours any more");
    assert_eq!((ended.field("how"), ended.field("status")), (Some("close"), Some("replaced")));
}

#[test]
fn a_watch_tells_of_the_loss_and_of_the_return() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("a server");
    let mut watch = server.watch().expect("a watch");
    let away = dir.join("away");
    let events = told(|| {
        fs::rename(&path, &away).expect("renamed");
        assert_eq!(watch.wait().expect("news"), Status::Gone);
        fs::rename(&away, &path).expect("renamed");
        assert_eq!(watch.wait().expect("news"), Status::Ours);
    });
    the(&events, Level::WARN, STATUS, "the path was lost");
    the(&events, Level::INFO, STATUS, "the path is back");
}

#[test]
fn a_take_over_is_told_by_both() {
    let dir = Dir::new();
    let path = dir.join("s");
    let builder = ServerSocket::builder().replaceable(true).take_over(true).lock_scope(LockScope::Startup);
    let first = builder.create(&path).expect("a server");
    let events = told(|| {
        let second = builder.create(&path).expect("a successor");
        assert_eq!(first.status(), Status::Replaced);
        drop(second);
    });
    the(&events, Level::INFO, SOCKET, "took the path over from a live server");
    the(&events, Level::INFO, STATUS, "a successor has the path");
    drop(first);
}

#[test]
fn a_drain_tells_its_end_and_that_of_its_queue_and_a_heal_tells_of_itself() {
    let dir = Dir::new();
    let path = dir.join("s");
    let mut server = ServerSocket::create(&path).expect("a server");
    let events = told(|| {
        fs::remove_file(&path).expect("removed");
        assert!(server.heal().expect("healed").is_some());
    });
    the(&events, Level::INFO, SOCKET, "put a new socket where ours was deleted");
    let _client = unix_stream_server::connect(&path).expect("a server");
    let events = told(|| assert_eq!(server.drain().expect("a drain").count(), 1));
    assert_eq!(the(&events, Level::INFO, SOCKET, "ended").field("how"), Some("drain"));
    the(&events, Level::DEBUG, SOCKET, "handed out the last client of the queue");
}

#[test]
fn what_a_drop_leaves_behind_is_told_though_it_returns_nothing() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = try_once().create(&path).expect("a server");
    let lock = beside(&path, ".lock");
    fs::write(&lock, "as git makes it").expect("a lock");
    let events = told(|| drop(server));
    let ended = the(&events, Level::WARN, SOCKET, "ended, but the path could not be removed");
    assert_eq!(ended.field("how"), Some("drop"));
    assert_eq!(the(&events, Level::INFO, LOCK, "waiting for the lock").field("held_by"), Some("another program"));
}
