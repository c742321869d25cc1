//! inotify(7).

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{self, CWD, Mode, RenameFlags};
use rustix::io::Errno;
use std::fs as stdfs;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use crate::support::*;

#[test]
fn inotify_on_a_socket_tells_unlink_and_rename_over_by_attrib_until_it_is_closed() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let file = watch(&scratch.path("s"));
    fs::unlink(scratch.path("s")).unwrap();
    assert_eq!(events(&file), [ReadFlags::ATTRIB]);
    drop(server);
    assert!(events(&file).contains(&ReadFlags::DELETE_SELF));

    let _old = listening(scratch.path("s"));
    let _new = listening(scratch.path("temporary"));
    let (file, dir) = (watch(&scratch.path("s")), watch(scratch.dir()));
    fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
    assert_eq!(events(&file), [ReadFlags::ATTRIB]);
    assert_eq!(events(&dir), [ReadFlags::MOVED_FROM, ReadFlags::MOVED_TO]);
}

#[test]
fn inotify_on_a_socket_tells_rename_away_and_chmod() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let file = watch(&scratch.path("s"));
    fs::rename(scratch.path("s"), scratch.path("away")).unwrap();
    assert_eq!(events(&file), [ReadFlags::MOVE_SELF]);
    fs::chmod(scratch.path("away"), Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(events(&file), [ReadFlags::ATTRIB]);
}

#[test]
fn inotify_watches_the_file_behind_a_pin_wherever_its_name_went() {
    let scratch = Scratch::shared();
    let _server = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    fs::rename(scratch.path("s"), scratch.path("away")).unwrap();
    let _other = listening(scratch.path("s"));
    let file = watch(Path::new(&format!("/proc/thread-self/fd/{}", pin.as_raw_fd())));
    fs::chmod(scratch.path("s"), Mode::from_raw_mode(0o600)).unwrap();
    assert_eq!(events(&file), []);
    fs::unlink(scratch.path("away")).unwrap();
    assert_eq!(events(&file), [ReadFlags::ATTRIB]);
}

#[test]
fn inotify_on_a_socket_tells_an_exchange_and_nothing_of_its_neighbours() {
    let scratch = Scratch::shared();
    let _servers = [listening(scratch.path("s")), listening(scratch.path("t"))];
    let (one, other) = (watch(&scratch.path("s")), watch(&scratch.path("t")));
    stdfs::write(scratch.path("neighbour"), "").unwrap();
    fs::unlink(scratch.path("neighbour")).unwrap();
    assert_eq!(events(&one), []);
    fs::renameat_with(CWD, scratch.path("s"), CWD, scratch.path("t"), RenameFlags::EXCHANGE).unwrap();
    assert_eq!(events(&one), [ReadFlags::MOVE_SELF]);
    assert_eq!(events(&other), [ReadFlags::MOVE_SELF]);
}

#[test]
fn inotify_needs_read_permission_on_the_socket() {
    as_ordinary_user("watching::inotify_needs_read_permission_on_the_socket", || {
        let scratch = Scratch::shared();
        let _server = listening(scratch.path("s"));
        fs::chmod(scratch.path("s"), Mode::from_raw_mode(0o333)).unwrap();
        let instance = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
        let watched = inotify::add_watch(&instance, scratch.path("s"), WatchFlags::ATTRIB);
        assert_eq!(watched, Err(Errno::ACCESS));
    });
}

fn watch(path: &Path) -> OwnedFd {
    let instance = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
    let all = WatchFlags::ATTRIB | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
    inotify::add_watch(&instance, path, all | WatchFlags::MOVE | WatchFlags::CREATE | WatchFlags::DELETE).unwrap();
    instance
}

/// What `instance` has seen since it was last asked.
fn events(instance: &OwnedFd) -> Vec<ReadFlags> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(instance, &mut buffer);
    std::iter::from_fn(|| reader.next().ok().map(|event| event.events())).collect()
}
