//! rename() and link() of sockets.

use rustix::fs::{self, CWD, Mode, RenameFlags};
use rustix::io::Errno;
use rustix::net::{self, Shutdown, SocketType};
use rustix::process::umask;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::*;

#[test]
fn rename_over_and_link_work_on_live_sockets() {
    let scratch = Scratch::shared();
    let _old = listening(scratch.path("s"));
    let new = listening(scratch.path("temporary"));
    fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
    fs::link(scratch.path("s"), scratch.path("linked")).unwrap();
    let _clients = [client(scratch.path("s")), client(scratch.path("linked"))];
    assert_eq!(accept_all(&new).len(), 2);
}

#[test]
fn renameat2_works_on_live_sockets() {
    let scratch = Scratch::shared();
    let (here, beside) = (scratch.path("s"), scratch.path("temporary"));
    let rename = |flags| fs::renameat_with(CWD, &beside, CWD, &here, flags);
    let first = listening(&beside);
    rename(RenameFlags::NOREPLACE).unwrap();
    let second = listening(&beside);
    assert_eq!(rename(RenameFlags::NOREPLACE), Err(Errno::EXIST));
    rename(RenameFlags::EXCHANGE).unwrap();
    let _clients = [client(&here), client(&here), client(&beside)];
    assert_eq!((accept_all(&first).len(), accept_all(&second).len()), (1, 2));
}

#[test]
fn renameat2_does_not_exchange_what_another_user_has_in_a_sticky_directory() {
    const TEST: &str = "renaming::renameat2_does_not_exchange_what_another_user_has_in_a_sticky_directory";
    let exchange =
        |dir: &Path| fs::renameat_with(CWD, dir.join("temporary"), CWD, dir.join("s"), RenameFlags::EXCHANGE);
    if is_child(TEST) {
        let dir = argument();
        let mine = listening(dir.join("temporary"));
        assert_eq!(exchange(&dir), Err(Errno::PERM));
        assert_eq!(fs::rename(dir.join("temporary"), dir.join("s")), Err(Errno::PERM));
        return drop(mine);
    }
    if !is_root() {
        eprintln!("{TEST}: only root can put another user's socket there");
        return;
    }
    let scratch = Scratch::alone();
    fs::chmod(scratch.dir(), Mode::from_raw_mode(0o1777)).unwrap();
    let theirs = listening(scratch.path("s"));
    let before = ino(scratch.path("s"));
    let mut command = again(TEST, scratch.dir());
    std::os::unix::process::CommandExt::uid(&mut command, NOBODY);
    expect_passed(command.spawn().unwrap());
    assert_eq!(ino(scratch.path("s")), before);
    drop(client(scratch.path("s")));
    drop(theirs);
}

#[test]
fn the_sticky_bit_of_a_socket_stays_over_bind_umask_listen_and_exchange_also_for_an_ordinary_user() {
    in_own_process(
        "renaming::the_sticky_bit_of_a_socket_stays_over_bind_umask_listen_and_exchange_also_for_an_ordinary_user",
        || {
            let scratch = Scratch::shared();
            let _old = listening(scratch.path("s"));
            for mask in [0, 0o022, 0o277, 0o777] {
                umask(Mode::from_raw_mode(mask));
                let socket = socket(SocketType::STREAM);
                fs::fchmod(&socket, Mode::from_raw_mode(0o1666)).unwrap();
                net::bind(&socket, &address(scratch.path("temporary"))).unwrap();
                net::listen(&socket, 1).unwrap();
                let flags = RenameFlags::EXCHANGE;
                fs::renameat_with(CWD, scratch.path("temporary"), CWD, scratch.path("s"), flags).unwrap();
                assert_eq!(mode(scratch.path("s")) & 0o7777, 0o1000 | 0o666 & !mask);
                fs::unlink(scratch.path("temporary")).unwrap();
            }
        },
    );
}

#[test]
fn the_set_user_id_bit_of_a_socket_stays_over_listen_and_rename_and_keeps_nobody_out() {
    as_ordinary_user(
        "renaming::the_set_user_id_bit_of_a_socket_stays_over_listen_and_rename_and_keeps_nobody_out",
        || {
            let scratch = Scratch::shared();
            let socket = socket(SocketType::STREAM);
            net::bind(&socket, &address(scratch.path("temporary"))).unwrap();
            fs::chmod(scratch.path("temporary"), Mode::from_raw_mode(0o5600)).unwrap();
            net::listen(&socket, 1).unwrap();
            fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
            assert_eq!(mode(scratch.path("s")) & 0o7777, 0o5600);
            assert_eq!(probe(scratch.path("s")), Ok(()));
        },
    );
}

#[test]
fn a_client_woken_from_connect_after_an_exchange_lands_in_the_new_server() {
    let scratch = Scratch::shared();
    let (old, clients) = busy(scratch.path("s"));
    let waiter = waiting_client(&scratch.path("s"));
    let new = listening(scratch.path("temporary"));
    let flags = RenameFlags::EXCHANGE;
    fs::renameat_with(CWD, scratch.path("temporary"), CWD, scratch.path("s"), flags).unwrap();
    fs::unlink(scratch.path("temporary")).unwrap();
    net::shutdown(&old, Shutdown::Read).unwrap();
    net::listen(&old, 0).unwrap();
    net::listen(&old, i32::MAX).unwrap();
    let _client = waiter.result().unwrap();
    assert_eq!((accept_all(&old).len(), accept_all(&new).len()), (clients.len(), 1));
}

#[test]
fn a_renamed_socket_keeps_the_name_it_was_bound_by() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("temporary"));
    fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
    assert_eq!(bound_name(&server), scratch.path("temporary"));
}

#[test]
fn a_path_renamed_over_is_never_absent() {
    let scratch = Scratch::shared();
    let (a, b, path) = (scratch.path("a"), scratch.path("b"), scratch.path("s"));
    let _servers = [listening(&a), listening(&b)];
    fs::link(&a, &path).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2000 {
                // Both servers stay, so no answer but "live" and, once their queues are full, "busy" is right.
                let answer = connect_nonblocking(&path).1;
                assert!(matches!(answer, Ok(()) | Err(Errno::AGAIN)), "{answer:?}");
            }
            done.store(true, Ordering::Relaxed);
        });
        let temporary = scratch.path("temporary");
        for next in [&b, &a].into_iter().cycle() {
            fs::link(next, &temporary).unwrap();
            fs::rename(&temporary, &path).unwrap();
            if done.load(Ordering::Relaxed) {
                break;
            }
        }
    });
}

#[test]
fn a_blocking_accept_whose_path_was_renamed_over_wakes_by_a_connection_through_the_pin() {
    let scratch = Scratch::shared();
    let old = listening(scratch.path("s"));
    let pin = pin(scratch.path("s"));
    let accepting = Asleep::in_call(move || net::accept(&old).map(drop));
    let _new = listening(scratch.path("temporary"));
    fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
    let _knock = client(through(&pin));
    assert_eq!(accepting.result(), Ok(()));
}
