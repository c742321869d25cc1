//! What is tried at every step. To try another operation, add a row.

use std::any::Any;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, unlinkat};
use unix_stream_server::{
    Builder, CleanOptions, Error, LockScope, Ownership, PathWatch, ServerSocket, Status, adopt, connect,
    connect_timeout, inspect, probe,
};

/// What stands at the path before the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Before {
    Nothing,
    Dead,
    /// And the lock of a starter that was killed.
    DeadAndLock,
    /// And the life lock of a server that was killed.
    DeadAndLife,
    /// A server in the process that looks on.
    Live,
    /// The same, which comes after the first look at the path, so that it is met under the lock.
    LiveLate,
    /// A server in the process that looks on, which may be replaced.
    Replaceable,
    /// And, at the temporary name, a dead socket of a successor that was killed.
    ReplaceableAndDeadBeside,
    /// And there a live server that was replaced by one that was killed before it could take that name away.
    ReplaceableAndLiveBeside,
    /// A server in the process that looks on, which has replaced the one of the process that acts.
    Successor,
    /// A regular file.
    File,
    /// git's lock, which is held for ever.
    GitLock,
}

/// How long the path is, and so how a socket gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Length {
    /// Bound by its path.
    Short,
    /// Longer than an address: bound through its directory.
    LongPath,
    /// A name too long even for that: bound beside it, then renamed.
    LongName,
}

/// How the server is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Plain,
    /// With a life lock.
    Lifetime,
    /// With a mode of which the umask takes something, and a group.
    Rights,
    /// That replaces, and may be replaced.
    TakeOver,
    /// With a life lock.
    TakeOverLifetime,
    /// With a mode of which the umask takes something, and a group.
    TakeOverRights,
}

/// What an operation leaves in the hands of its caller.
pub(crate) enum Kept {
    /// A server that lives at the path.
    Server(Box<ServerSocket>),
    /// Something else, to be kept until the end.
    Other(#[expect(dead_code, reason = "for its drop")] Box<dyn Any>),
}

/// The operation, all its preparations made.
pub(crate) type Act = Box<dyn FnOnce() -> Result<Kept, Error>>;

pub(crate) type Arrange = fn(Builder, PathBuf) -> Act;

pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) before: Before,
    pub(crate) length: Length,
    /// Of this server and of those that come after it.
    pub(crate) kind: Kind,
    /// Makes preparations, whose calls do not count, in the process that acts.
    pub(crate) arrange: Arrange,
    /// See [`Operation::varying`].
    pub(crate) varies: bool,
    /// See [`Operation::persisting`].
    pub(crate) persists: bool,
    /// See [`Operation::unsure`].
    pub(crate) unsure: bool,
}

use Before::{
    Dead, DeadAndLife, DeadAndLock, File, GitLock, Live, LiveLate, Nothing, Replaceable, ReplaceableAndDeadBeside,
    ReplaceableAndLiveBeside, Successor,
};
use Kind::{Lifetime, Plain, Rights, TakeOver, TakeOverLifetime, TakeOverRights};
use Length::{LongName, LongPath, Short};

#[rustfmt::skip] // a table
pub(crate) const OPERATIONS: &[Operation] = &[
    row("create", Nothing, Short, Plain, create),
    row("create over a dead socket", Dead, Short, Plain, create),
    row("create over a dead socket and a killed starter's lock", DeadAndLock, Short, Plain, create),
    row("create, long path", Dead, LongPath, Plain, create),
    row("create, long name", Dead, LongName, Plain, create),
    row("create, long name, by a second link", Dead, LongName, Plain, create_by_link),
    row("create, mode and group", Nothing, Short, Rights, create),
    row("create, umask 0777", Nothing, Short, Plain, create_umask_0777),
    row("create, umask 0777, killed starter's lock", DeadAndLock, Short, Plain, create_umask_0777),
    row("create, lifetime", Nothing, Short, Lifetime, create),
    row("create, lifetime, over a killed server", DeadAndLife, Short, Lifetime, create),
    row("create, relative path", Dead, Short, Plain, create_relative),
    row("create over a live server", Live, Short, Plain, create),
    row("create, a server comes meanwhile", LiveLate, Short, Plain, create),
    row("create, long name, a server comes meanwhile", LiveLate, LongName, Plain, create),
    row("create over a file", File, Short, Plain, create),
    row("create beside git's lock", GitLock, Short, Plain, create).varying(),
    row("claim, listen", Dead, Short, Plain, |b, p| act(move || b.claim(p)?.listen().map(live))),
    row("claim, listen, lifetime", Dead, Short, Lifetime, |b, p| act(move || b.claim(p)?.listen().map(live))),
    row("claim, drop", Dead, Short, Plain, |b, p| act(move || b.claim(p).map(drop).map(kept))),
    row("claim, drop, lifetime", Dead, Short, Lifetime, |b, p| act(move || b.claim(p).map(drop).map(kept))),
    row("clean", Dead, Short, Plain, |b, p| act(move || b.remove_dead(p).map(kept))),
    row("clean, a killed starter's lock", DeadAndLock, Short, Plain, |b, p| act(move || b.remove_dead(p).map(kept))),
    row("sweep, a killed starter's lock", DeadAndLock, Short, Plain, |_, p| act(move || CleanOptions::new().run(p, |_| {}).map(kept))).varying().persisting(),
    row("sweep, a killed server's life lock", DeadAndLife, Short, Lifetime, |_, p| act(move || CleanOptions::new().run(p, |_| {}).map(kept))).varying().persisting(),
    row("clean, a server comes meanwhile", LiveLate, Short, Plain, |b, p| act(move || b.remove_dead(p).map(kept))),
    row("status", Nothing, Short, Plain, |b, p| with_server(b, p, |server| { let _ = server.status(); Ok(live(server)) })),
    row("close", Nothing, Short, Plain, |b, p| with_server(b, p, |server| server.close().map(kept))),
    row("close, lifetime", Nothing, Short, Lifetime, |b, p| with_server(b, p, |server| server.close().map(kept))),
    row("close, long name", Nothing, LongName, Plain, |b, p| with_server(b, p, |server| server.close().map(kept))),
    row("drop", Nothing, Short, Plain, |b, p| with_server(b, p, |server| { drop(server); Ok(kept(())) })),
    row("drop, lifetime", Nothing, Short, Lifetime, |b, p| with_server(b, p, |server| { drop(server); Ok(kept(())) })),
    row("drain", Nothing, Short, Plain, |b, p| with_server(b, p, drain)).persisting(),
    row("drain, lifetime", Nothing, Short, Lifetime, |b, p| with_server(b, p, drain)).persisting(),
    row("into_parts, close", Nothing, Short, Plain, |b, p| with_server(b, p, |server| in_parts(server, |_, path| path.close().map(kept)))),
    row("into_parts, drain, lifetime", Nothing, Short, Lifetime, |b, p| with_server(b, p, |server| in_parts(server, |listener, path| path.drain(listener).map(kept)))),
    row("into_parts, unpublish", Nothing, Short, Plain, |b, p| with_server(b, p, |server| in_parts(server, |_, mut path| { path.unpublish()?; Ok(kept(path)) }))),
    row("heal", Nothing, Short, Plain, |b, p| with_cleaned(b, p, heal)),
    row("heal, lifetime", Nothing, Short, Lifetime, |b, p| with_cleaned(b, p, heal)),
    row("heal, lifetime, its file deleted too", Nothing, Short, Lifetime, |b, p| { let life = life_lock(&p); with_cleaned(b, p, move |server| { let _ = unlinkat(CWD, &life, AtFlags::empty()); heal(server) }) }),
    row("heal, long name", Nothing, LongName, Plain, |b, p| with_cleaned(b, p, heal)),
    row("heal, mode and group", Nothing, Short, Rights, |b, p| with_cleaned(b, p, heal)),
    row("heal, nothing to do", Nothing, Short, Plain, |b, p| with_server(b, p, heal)),
    row("into_parts, heal", Nothing, Short, Plain, |b, p| with_parts_of_cleaned(b, p, heal_parts)),
    row("watch", Nothing, Short, Plain, |b, p| with_server(b, p, |server| { let _ = server.watch()?.check()?; Ok(live(server)) })),
    row("watch, lost", Nothing, Short, Plain, |b, p| with_server(b, p, |server| told_of_loss(server).map(kept))).varying(),
    row("watch any path", Dead, Short, Plain, |_, p| act(move || { PathWatch::new(p)?.wait_timeout(Duration::from_millis(1)).map(kept) })).varying().persisting(),
    row("adopt, own_path, close", Nothing, Short, Plain, adopted).varying(),
    row("adopt, own_path, close, long path", Nothing, LongPath, Plain, adopted).varying(),
    row("connect", Live, Short, Plain, |_, p| act(move || connect(p).map(kept))).persisting(),
    row("connect, long path", Live, LongPath, Plain, |_, p| act(move || connect(p).map(kept))).persisting(),
    row("connect within a time", Live, Short, Plain, |_, p| act(move || connect_timeout(p, Duration::from_secs(9)).map(kept))).persisting(),
    row("connect at once", Live, Short, Plain, |_, p| act(move || connect_timeout(p, Duration::ZERO).map(kept))),
    row("connect to a dead socket", Dead, Short, Plain, |_, p| act(move || connect(p).map(kept))).persisting(),
    row("probe", Live, Short, Plain, |_, p| act(move || probe(p).map(kept))),
    row("take over", Replaceable, Short, TakeOver, create),
    row("take over, long path", Replaceable, LongPath, TakeOver, create),
    row("take over, long name", Replaceable, LongName, TakeOver, create),
    row("take over, mode and group", Replaceable, Short, TakeOverRights, create),
    row("take over, umask 0777", Replaceable, Short, TakeOver, create_umask_0777),
    row("take over, lifetime", Replaceable, Short, TakeOverLifetime, create).persisting(),
    row("take over, names cannot be exchanged", Replaceable, Short, TakeOver, create_without_exchange),
    row("take over, a killed successor's socket beside", ReplaceableAndDeadBeside, Short, TakeOver, create),
    row("take over, a replaced server beside", ReplaceableAndLiveBeside, Short, TakeOver, create),
    row("take over, nothing", Nothing, Short, TakeOver, create),
    row("take over, a dead socket", Dead, Short, TakeOver, create),
    row("take over, a killed server's life lock", DeadAndLife, Short, TakeOverLifetime, create).persisting(),
    row("take over from who has not allowed it", Live, Short, Plain, |b, p| create(b.take_over(true), p)),
    row("wait for a predecessor that has drained", Nothing, Short, TakeOverLifetime, wait_for_drained).persisting(),
    row("wait for a predecessor that drains", Nothing, Short, TakeOverLifetime, wait_for_draining).varying().persisting(),
    row("replaced, close", Successor, Short, TakeOver, |b, p| with_server(b, p, |server| server.close().map(kept))),
    row("replaced, close, lifetime", Successor, Short, TakeOverLifetime, |b, p| with_server(b, p, |server| server.close().map(kept))),
    row("replaced, drop", Successor, Short, TakeOver, |b, p| with_server(b, p, |server| { drop(server); Ok(kept(())) })),
    row("replaced, until it has ended", Successor, Short, TakeOver, |b, p| with_client(b, p, until_replaced)).persisting().unsure(),
    row("replaced, until it has ended, lifetime", Successor, Short, TakeOverLifetime, |b, p| with_client(b, p, until_replaced)).persisting().unsure(),
    row("inspect a dead socket and a lock", DeadAndLock, Short, Plain, |_, p| act(move || inspect(p).map(kept))).varying().persisting(),
];

const fn row(name: &'static str, before: Before, length: Length, kind: Kind, arrange: Arrange) -> Operation {
    Operation { name, before, length, kind, arrange, varies: false, persists: false, unsure: false }
}

impl Operation {
    /// That does not always make the same calls: it polls for some time, or reads a list of things that are not ours.
    const fn varying(mut self) -> Operation {
        self.varies = true;
        self
    }

    /// That tries an interrupted call again for as long as it takes: a client does, and std where it reads a file.
    const fn persisting(mut self) -> Operation {
        self.persists = true;
        self
    }

    /// That goes on for as long as it cannot be told whether its path leads to it.
    const fn unsure(mut self) -> Operation {
        self.unsure = true;
        self
    }
}

impl Operation {
    /// Ends with a new server at the path.
    pub(crate) fn creates(&self) -> bool {
        ["create", "claim, listen", "take over"].iter().any(|how| self.name.starts_with(how))
    }

    /// For another server at the path, or the next one; where something is in the way that stays there, not one that
    /// would replace it.
    pub(crate) fn another(&self) -> Builder {
        let builder = self.kind.builder();
        if self.before.is_in_the_way() { builder.take_over(false) } else { builder }
    }
}

impl Kind {
    /// One that waits for a lock, and so tries twice, but not for long.
    pub(crate) fn builder(self) -> Builder {
        let builder = ServerSocket::builder().lock_timeout(Duration::from_millis(1));
        match self {
            Kind::Plain => builder,
            Kind::Lifetime => builder.lock_scope(LockScope::Lifetime),
            Kind::Rights => builder.mode(0o666).group(rustix::process::getegid().as_raw()),
            Kind::TakeOver => builder.replaceable(true).take_over(true),
            Kind::TakeOverLifetime => Kind::TakeOver.builder().lock_scope(LockScope::Lifetime),
            Kind::TakeOverRights => Kind::Rights.builder().replaceable(true).take_over(true),
        }
    }

    pub(crate) fn takes_over(self) -> bool {
        matches!(self, TakeOver | TakeOverLifetime | TakeOverRights)
    }
}

impl Before {
    /// No start can succeed beside it, or is to be tried that could.
    pub(crate) fn is_in_the_way(self) -> bool {
        matches!(self, Live | LiveLate | File | GitLock | Successor)
    }

    /// A live server that a successor may replace.
    pub(crate) fn yields(self) -> bool {
        matches!(self, Replaceable | ReplaceableAndDeadBeside | ReplaceableAndLiveBeside)
    }
}

fn act(work: impl FnOnce() -> Result<Kept, Error> + 'static) -> Act {
    Box::new(work)
}

fn live(server: ServerSocket) -> Kept {
    Kept::Server(Box::new(server))
}

fn kept(something: impl Any) -> Kept {
    Kept::Other(Box::new(something))
}

pub(crate) fn create(builder: Builder, path: PathBuf) -> Act {
    act(move || builder.create(path).map(live))
}

/// What does not take over, whatever the options.
pub(crate) fn create_beside(builder: Builder, path: PathBuf) -> Act {
    create(builder.take_over(false), path)
}

fn create_without_exchange(builder: Builder, path: PathBuf) -> Act {
    crate::support::filter::without_exchange();
    create(builder, path)
}

/// Where there is no rename that replaces nothing.
fn create_by_link(builder: Builder, path: PathBuf) -> Act {
    crate::support::filter::without(libc::SYS_renameat2, None, libc::ENOSYS);
    create(builder, path)
}

fn create_umask_0777(builder: Builder, path: PathBuf) -> Act {
    rustix::process::umask(Mode::from_raw_mode(0o777));
    create(builder, path)
}

fn create_relative(builder: Builder, path: PathBuf) -> Act {
    std::env::set_current_dir(path.parent().expect("a directory")).expect("chdir");
    create(builder, path.file_name().expect("a name").into())
}

fn with_server(builder: Builder, path: PathBuf, work: fn(ServerSocket) -> Result<Kept, Error>) -> Act {
    let server = builder.create(path).expect("create");
    act(move || work(server))
}

/// With one whose path is then deleted.
fn with_cleaned(
    builder: Builder,
    path: PathBuf,
    work: impl FnOnce(ServerSocket) -> Result<Kept, Error> + 'static,
) -> Act {
    let server = builder.create(&path).expect("create");
    std::fs::remove_file(path).expect("unlink");
    act(move || work(server))
}

fn with_parts_of_cleaned(
    builder: Builder,
    path: PathBuf,
    work: fn(UnixListener, Ownership) -> Result<Kept, Error>,
) -> Act {
    let (listener, ownership) = builder.create(&path).expect("create").into_parts().expect("parts");
    std::fs::remove_file(path).expect("unlink");
    act(move || work(listener, ownership))
}

fn life_lock(path: &Path) -> PathBuf {
    crate::support::dir::beside(path, ".owner")
}

/// With the end of the old queue, as far as one cares to hear of errors.
fn heal(mut server: ServerSocket) -> Result<Kept, Error> {
    let _served: Vec<_> = server.heal()?.into_iter().flatten().take(4).collect();
    Ok(live(server))
}

fn heal_parts(listener: UnixListener, mut ownership: Ownership) -> Result<Kept, Error> {
    let new = ownership.heal(&listener)?;
    drop(listener);
    Ok(kept((new, ownership)))
}

/// By ourselves, with the call that every step may fail.
fn told_of_loss(server: ServerSocket) -> Result<(ServerSocket, Option<Status>), Error> {
    let mut watch = server.watch()?;
    let _ = unlinkat(CWD, server.local_path(), AtFlags::empty());
    let told = watch.wait_timeout(Duration::from_millis(1))?;
    Ok((server, told))
}

fn with_client(builder: Builder, path: PathBuf, work: fn(ServerSocket, UnixStream) -> Result<Kept, Error>) -> Act {
    let server = builder.create(&path).expect("create");
    let client = connect(path).expect("connect");
    act(move || work(server, client))
}

/// The end of a server that has been replaced, and no more errors than one cares to hear.
fn until_replaced(server: ServerSocket, client: UnixStream) -> Result<Kept, Error> {
    let mut clients = server.until_replaced().grace(Duration::ZERO);
    let served: Vec<_> = clients.by_ref().take(4).collect();
    Ok(kept((client, served, clients)))
}

const SHORT_WAIT: Duration = Duration::from_millis(1);

/// A server and its successor, which has not got the life lock yet.
fn succession(builder: &Builder, path: &PathBuf) -> (ServerSocket, ServerSocket) {
    let old = builder.create(path).expect("create");
    (old, builder.create(path).expect("take over"))
}

fn wait_for_drained(builder: Builder, path: PathBuf) -> Act {
    let (old, mut new) = succession(&builder, &path);
    drop(old.drain().expect("drain"));
    act(move || new.wait_for_predecessor(SHORT_WAIT).map(|()| live(new)))
}

fn wait_for_draining(builder: Builder, path: PathBuf) -> Act {
    let (old, mut new) = succession(&builder, &path);
    let drain = old.drain().expect("drain");
    act(move || {
        new.wait_for_predecessor(SHORT_WAIT)?;
        Ok(kept((new, drain)))
    })
}

/// Two clients, and no more errors than one cares to hear.
fn drain(server: ServerSocket) -> Result<Kept, Error> {
    let clients = [(); 2].map(|()| connect(server.local_path()));
    let mut drain = server.drain()?;
    let served: Vec<_> = drain.by_ref().take(4).collect();
    Ok(kept((clients, served, drain)))
}

/// A listener that somebody else has made, with the duty to remove its path.
fn adopted(builder: Builder, path: PathBuf) -> Act {
    let listener = builder.create(&path).expect("create").into_listener();
    act(move || {
        let mut socket = adopt(listener)?;
        socket.own_path(&path)?;
        socket.close().map(kept)
    })
}

fn in_parts(server: ServerSocket, work: fn(UnixListener, Ownership) -> Result<Kept, Error>) -> Result<Kept, Error> {
    match server.into_parts() {
        Ok((listener, path)) => work(listener, path),
        // The server is handed back, and is as good as before.
        Err(refused) => Ok(live(*refused.server)),
    }
}
