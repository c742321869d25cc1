//! What is measured beside what. The first contestant of a group is its reference.

use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, open, statat};
use unix_stream_server::{ServerSocket, connect};

use crate::contestants::Raw;
use crate::harness::{Group, Result, timed, whole};

pub(crate) const ALL: [fn(&Path) -> Result<Group>; 6] =
    [create, create_and_close, over_a_dead_socket, in_use, was_stolen, connect_and_accept];

fn create(dir: &Path) -> Result<Group> {
    let (limit, git) = (Raw::new(&dir.join("limit"))?, Raw::new(&dir.join("git"))?);
    let (limit_end, git_end) = (Raw::new(&dir.join("limit"))?, Raw::new(&dir.join("git"))?);
    let ours = dir.join("ours");
    Ok(Group::new("create; closing is not timed", 16)
        .add("limit", timed(move || limit.limit(), move |socket| limit_end.close(socket)))
        .add("git's order", timed(move || git.git_order(), move |socket| git_end.git_close(socket)))
        .add("library", timed(move || Ok(ServerSocket::create(&ours)?), close))
        .and_relative_to("git's order"))
}

fn create_and_close(dir: &Path) -> Result<Group> {
    let (bare, git) = (Raw::new(&dir.join("bare"))?, Raw::new(&dir.join("git"))?);
    let ours = dir.join("ours");
    Ok(Group::new("create and close", 16)
        .add("bare", whole(move || bare.close(bare.bare()?)))
        .add("git's order", whole(move || git.git_close(git.git_order()?)))
        .add("library", whole(move || close(ServerSocket::create(&ours)?)))
        .and_relative_to("git's order"))
}

fn over_a_dead_socket(dir: &Path) -> Result<Group> {
    let (free, over) = (dir.join("free"), dir.join("over"));
    let dead = Raw::new(&over)?;
    drop(dead.bare()?);
    let leave_dead = move |server| {
        close(server)?;
        drop(dead.bare()?);
        Ok(())
    };
    Ok(Group::new("the library's create, by what is at the path; closing is not timed", 16)
        .add("nothing", timed(move || Ok(ServerSocket::create(&free)?), close))
        .add("a dead socket", timed(move || Ok(ServerSocket::create(&over)?), leave_dead)))
}

fn in_use(dir: &Path) -> Result<Group> {
    // Every attempt leaves a connection that has ended in the queue: taken out again while the clock stands.
    let (bare, ours) = (dir.join("bare"), dir.join("ours"));
    let (bare_server, our_server) = (ServerSocket::create(&bare)?, ServerSocket::create(&ours)?);
    let bare = Raw::new(&bare)?;
    let ask = move || match ServerSocket::create(&ours) {
        Err(error) if error.is_in_use() => Ok(error),
        Err(error) => Err(error.into()),
        Ok(_) => Err("a live server was replaced".into()),
    };
    let take = |server: ServerSocket| move || server.accept().map(drop);
    let (take_bare, take_ours) = (take(bare_server), take(our_server));
    Ok(Group::new("the answer that a path is in use", 64)
        .add("socket, connect, close", timed(move || bare.connect().map(drop), move |()| Ok(take_bare()?)))
        .add("library's create", timed(ask, move |_| Ok(take_ours()?))))
}

fn was_stolen(dir: &Path) -> Result<Group> {
    let path = dir.join("ours");
    let server = ServerSocket::create(&path)?;
    let raw = Raw::new(&path)?;
    let dir = open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let look = move || {
        std::hint::black_box(statat(dir.as_fd(), c"ours", AtFlags::SYMLINK_NOFOLLOW)?);
        Ok(())
    };
    let ask = move || if server.was_stolen() { Err("nobody stole it".into()) } else { Ok(()) };
    Ok(Group::new("does the path still lead to us?", 256)
        .add("lstat of the path", whole(move || raw.lstat()))
        .add("lstat in its directory", whole(look))
        .add("library's was_stolen", whole(ask)))
}

fn connect_and_accept(dir: &Path) -> Result<Group> {
    let (std_path, path) = (dir.join("std"), dir.join("ours"));
    let (listener, server) = (UnixListener::bind(&std_path)?, ServerSocket::create(&path)?);
    let by_std = move || {
        let client = UnixStream::connect(&std_path)?;
        drop((listener.accept()?, client));
        Ok(())
    };
    let by_library = move || {
        let client = connect(&path)?;
        drop((server.accept()?, client));
        Ok(())
    };
    Ok(Group::new("connect, accept, close both", 64).add("std", whole(by_std)).add("library", whole(by_library)))
}

fn close(server: ServerSocket) -> Result<()> {
    server.close()?;
    Ok(())
}
