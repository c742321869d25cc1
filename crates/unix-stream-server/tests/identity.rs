//! Sound identity: "stolen" is never said wrongly, and what is not ours is never deleted, whatever happens to the path.

pub mod support;

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use libc::{EACCES, EINVAL, EMFILE, EPERM, ESTALE};
use support::child::{Program, descriptors, ordinary_user, whole_process, with_descriptors};
use support::dir::{Dir, chmod, exists, file, inode, put_file};
use support::fork::in_a_forked_child;
use support::sockets::{assert_serves, stranger};
use support::unshared::with_children_in_pid_namespaces;
use support::{assert_error, child, is_root, not_tried};
use unix_stream_server::{ErrorKind, LockScope, ServerSocket, Status, connect};

/// Takes the path as one who knows no lock does.
fn steal(path: &Path) -> UnixListener {
    fs::remove_file(path).expect("unlink");
    stranger(path)
}

#[test]
fn a_path_taken_by_a_stranger_is_stolen_and_stays_the_strangers() {
    type End = fn(ServerSocket);
    let ends: [End; 4] = [
        |server| assert_eq!(server.close().expect("close"), Status::Replaced),
        |server| assert_eq!(server.drain().expect("drain").status().expect("the lock was had"), Status::Replaced),
        drop,
        |server| {
            let error = server.into_parts().expect_err("not at the path").error;
            assert_error(&error, ErrorKind::Moved, ESTALE);
        },
    ];
    for end in ends {
        let dir = Dir::new();
        let path = dir.join("s");
        let server = ServerSocket::create(&path).expect("create");
        assert_eq!((server.status(), server.was_stolen()), (Status::Ours, false));
        let thief = steal(&path);
        let before = dir.files();
        assert_eq!((server.status(), server.was_stolen()), (Status::Replaced, true));
        end(server);
        assert_eq!(dir.files(), before);
        assert_serves(&thief, &path);
    }
}

#[test]
fn a_path_renamed_over_is_stolen() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("create");
    let successor = stranger(&dir.join("new"));
    fs::rename(dir.join("new"), &path).expect("rename");
    let before = dir.files();
    assert_eq!((server.status(), server.was_stolen()), (Status::Replaced, true));
    assert_eq!(server.close().expect("close"), Status::Replaced);
    assert_eq!(dir.files(), before);
    assert_serves(&successor, &path);

    let server = ServerSocket::create(dir.join("t")).expect("create");
    put_file(&dir.join("new"), b"precious", 0o600);
    fs::rename(dir.join("new"), dir.join("t")).expect("rename");
    assert_eq!(server.status(), Status::Replaced);
    drop(server);
    assert_eq!(file(&dir.join("t")).content, b"precious");
}

#[test]
fn a_path_that_is_missing_or_moved_away_is_gone() {
    let dir = Dir::new();
    let path = dir.join("s");
    let server = ServerSocket::create(&path).expect("create");
    fs::remove_file(&path).expect("unlink");
    assert_eq!((server.status(), server.was_stolen()), (Status::Gone, true));
    assert_eq!(server.close().expect("close"), Status::Gone);

    let server = ServerSocket::create(&path).expect("create");
    fs::rename(&path, dir.join("elsewhere")).expect("rename");
    assert_eq!((server.status(), server.was_stolen()), (Status::Gone, true));
    assert_eq!(server.close().expect("close"), Status::Gone);
    assert_eq!(dir.names(), ["elsewhere"]);
    fs::remove_file(dir.join("elsewhere")).expect("unlink");

    let server = ServerSocket::create(&path).expect("create");
    fs::rename(&path, dir.join("elsewhere")).expect("rename");
    fs::rename(dir.join("elsewhere"), &path).expect("rename back");
    assert_eq!((server.status(), server.was_stolen()), (Status::Ours, false));
    assert_eq!(server.close().expect("close"), Status::Ours);
    assert_eq!(dir.names(), [""; 0]);
}

#[test]
fn a_renamed_directory_takes_its_server_along() {
    let dir = Dir::new();
    let (old, new) = (dir.join("old"), dir.join("new"));
    for decoy in [false, true] {
        fs::create_dir(&old).expect("mkdir");
        let server = ServerSocket::create(old.join("s")).expect("create");
        fs::rename(&old, &new).expect("rename");
        let thief = decoy.then(|| {
            fs::create_dir(&old).expect("mkdir");
            stranger(&old.join("s"))
        });
        assert_eq!((server.status(), server.was_stolen()), (Status::Ours, false));
        assert_serves(&server, &new.join("s"));
        assert_eq!(server.close().expect("close"), Status::Ours);
        assert!(!exists(&new.join("s")) && !exists(&new.join("s.lock")));
        if let Some(thief) = thief {
            assert_serves(&thief, &old.join("s"));
        }
        fs::remove_dir(&new).expect("it is empty");
    }
}

#[test]
fn a_removed_directory_is_gone_and_no_panic() {
    let dir = Dir::new();
    for end in [drop as fn(ServerSocket), |server| drop(server.close()), |server| drop(server.drain())] {
        fs::create_dir(dir.join("d")).expect("mkdir");
        let server = ServerSocket::create(dir.join("d/s")).expect("create");
        fs::remove_dir_all(dir.join("d")).expect("rm -r");
        assert_eq!(server.status(), Status::Gone);
        end(server);
        assert_eq!(dir.names(), [""; 0]);
    }
}

#[test]
fn a_flipped_link_above_the_path_is_no_theft_and_close_removes_only_ours() {
    let dir = Dir::new();
    for name in ["a", "b"] {
        fs::create_dir(dir.join(name)).expect("mkdir");
    }
    symlink("a", dir.join("link")).expect("symlink");
    let server = ServerSocket::create(dir.join("link/s")).expect("create");
    let other = stranger(&dir.join("b/s"));
    symlink("b", dir.join("flipped")).expect("symlink");
    fs::rename(dir.join("flipped"), dir.join("link")).expect("rename");
    assert_eq!((server.status(), server.was_stolen()), (Status::Ours, false));
    assert_eq!(server.close().expect("close"), Status::Ours);
    assert!(!exists(&dir.join("a/s")));
    assert_serves(&other, &dir.join("link/s"));
    assert_serves(&other, &dir.join("b/s"));
}

#[test]
fn close_and_drop_remove_what_is_ours_and_only_that() {
    let dir = Dir::new();
    let neighbours = ["s.bak", "s.owner.old", "t"];
    for name in neighbours {
        put_file(&dir.join(name), b"precious", 0o600);
    }
    let before = dir.files();
    for end in [drop as fn(ServerSocket), |server| drop(server.close()), |server| drop(server.drain())] {
        for scope in [LockScope::Startup, LockScope::Lifetime] {
            let server = ServerSocket::builder().lock_scope(scope).create(dir.join("s")).expect("create");
            end(server);
            assert_eq!(dir.files(), before);
        }
    }
}

#[test]
fn a_relative_path_survives_chdir() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        fs::create_dir_all(dir.join("a/deep")).expect("mkdir");
        fs::create_dir_all(dir.join("b/deep")).expect("mkdir");
        for relative in ["s", "./s", "deep/s", "deep/../s", "../a/s"] {
            for end in [drop as fn(ServerSocket), |server| drop(server.close()), |server| drop(server.drain())] {
                env::set_current_dir(dir.join("a")).expect("chdir");
                let server = ServerSocket::create(relative).expect("create");
                assert!(server.local_path().is_absolute());
                env::set_current_dir(dir.join("b")).expect("chdir");
                let decoy = stranger(Path::new(relative.strip_prefix("../a/").unwrap_or(relative)));
                assert_eq!((server.status(), server.was_stolen()), (Status::Ours, false), "{relative}");
                assert_serves(&server, server.local_path());
                let at = dir.join("a").join(relative);
                assert_eq!(inode(&at), inode(server.local_path()));
                end(server);
                assert!(!exists(&at), "{relative}");
                assert!(!exists(&dir.join("a/s.lock")));
                let stays = Path::new(relative.strip_prefix("../a/").unwrap_or(relative));
                assert_serves(&decoy, stays);
                fs::remove_file(stays).expect("unlink");
            }
        }
        env::set_current_dir("/").expect("chdir");
    });
}

#[test]
fn a_relative_path_works_in_a_removed_working_directorys_place() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        fs::create_dir(dir.join("d")).expect("mkdir");
        env::set_current_dir(dir.join("d")).expect("chdir");
        fs::remove_dir(dir.join("d")).expect("rmdir");
        let error = ServerSocket::create("s").expect_err("nothing can be made there");
        assert_eq!(error.kind(), ErrorKind::System, "{error}");
        let server = ServerSocket::create(dir.join("s")).expect("an absolute path needs no working directory");
        assert_serves(&server, &dir.join("s"));
        drop(server);
        env::set_current_dir("/").expect("chdir");
        assert_eq!(dir.names(), [""; 0]);
    });
}

#[test]
fn a_forked_child_never_deletes_its_parents_socket() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        for scope in [LockScope::Startup, LockScope::Lifetime] {
            let builder = ServerSocket::builder().lock_scope(scope);
            let ends: [fn(ServerSocket) -> bool; 4] = [
                |server| {
                    drop(server);
                    true
                },
                |server| server.close().is_err_and(|error| is_forked(&error)),
                |server| server.drain().is_err_and(|error| is_forked(&error)),
                |server| {
                    let (listener, ownership) = server.into_parts().expect("parts");
                    ownership.drain(listener).is_err_and(|error| is_forked(&error))
                },
            ];
            for end in ends {
                let server = builder.create(&path).expect("create");
                let before = dir.files();
                let mut parents = Some(server);
                assert_eq!(in_a_forked_child(|| parents.take().is_some_and(end)), 0);
                // In the parent it was never taken.
                let server = parents.expect("fork copies");
                assert_eq!(dir.files(), before);
                assert_eq!(server.status(), Status::Ours);
                assert_serves(&server, &path);
                assert_eq!(server.close().expect("close"), Status::Ours);
                assert_eq!(dir.names(), [""; 0]);
            }
            let mut claim = Some(builder.claim(&path).expect("claim"));
            let before = dir.files();
            let dropped = in_a_forked_child(|| {
                drop(claim.take());
                true
            });
            assert_eq!((dropped, dir.files()), (0, before.clone()));
            let forked = in_a_forked_child(|| {
                claim.take().is_some_and(|claim| claim.listen().is_err_and(|error| is_forked(&error)))
            });
            assert_eq!((forked, dir.files()), (0, before));
            let server = claim.expect("fork copies").listen().expect("listen");
            assert_serves(&server, &path);
            server.close().expect("close");
            assert_eq!(dir.names(), [""; 0]);
        }
    });
}

fn is_forked(error: &unix_stream_server::Error) -> bool {
    error.kind() == ErrorKind::Forked && error.raw_os_error() == EPERM
}

/// The first process of a container, and its child that is the first one of another.
#[test]
fn a_forked_child_with_its_parents_process_id_is_a_child_all_the_same() {
    let test = this_test!();
    if child::role().is_none() {
        if !is_root() {
            not_tried("processes that have the same id: only root can make pid namespaces");
            return;
        }
        let mut first = Command::new("unshare");
        first.args(["--pid", "--fork", "--kill-child"]).arg(std::env::current_exe().expect("a path"));
        Program::with(first, &test, "first").run();
        return;
    }
    assert_eq!(std::process::id(), 1);
    let dir = Dir::new();
    let path = dir.join("s");
    let mut parents = Some(ServerSocket::create(&path).expect("create"));
    with_children_in_pid_namespaces();
    let ended = in_a_forked_child(|| {
        let server = parents.take().expect("fork copies");
        std::process::id() == 1 && server.close().is_err_and(|error| is_forked(&error))
    });
    assert_eq!(ended, 0);
    let server = parents.expect("in the parent it was never taken");
    assert_eq!(server.status(), Status::Ours);
    assert_serves(&server, &path);
    server.close().expect("close");
}

#[test]
fn a_forked_child_that_takes_the_duty_removes_the_path() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let mut server = Some(ServerSocket::create(dir.join("s")).expect("create"));
        let ours = in_a_forked_child(|| {
            let mut server = server.take().expect("a copy");
            server.move_to_this_process();
            server.close().is_ok_and(|status| status == Status::Ours)
        });
        assert_eq!(ours, 0);
        assert_eq!(dir.names(), [""; 0]);
        assert_eq!(server.expect("fork copies").close().expect("close"), Status::Gone);
    });
}

#[test]
fn a_reused_inode_number_is_never_taken_for_ours() {
    let dir = Dir::new();
    let path = dir.join("s");
    for round in 0..200 {
        let (listener, ownership) = ServerSocket::create(&path).expect("create").into_parts().expect("parts");
        // The listener first: from here on only the ownership keeps the number.
        drop(listener);
        let thief = steal(&path);
        let before = dir.files();
        assert_eq!((ownership.status(), ownership.was_stolen()), (Status::Replaced, true));
        if round % 2 == 0 {
            assert_eq!(ownership.close().expect("close"), Status::Replaced);
        } else {
            drop(ownership);
        }
        assert_eq!(dir.files(), before);
        drop(thief);
        fs::remove_file(&path).expect("unlink");
    }
    for _ in 0..200 {
        let server = ServerSocket::create(&path).expect("create");
        let thief = steal(&path);
        assert_eq!(server.status(), Status::Replaced);
        drop(server);
        assert!(exists(&path));
        drop(thief);
        fs::remove_file(&path).expect("unlink");
    }
}

#[test]
fn an_ownership_outlives_its_listener() {
    let dir = Dir::new();
    let path = dir.join("s");
    let (listener, ownership) = ServerSocket::create(&path).expect("create").into_parts().expect("parts");
    assert_eq!(ownership.status(), Status::Ours);
    assert_eq!(ownership.local_path(), path);
    assert_serves(&listener, &path);
    let _client = connect(&path).expect("connect");
    let drain = ownership.drain(listener).expect("drain");
    assert_eq!(drain.status().expect("the lock was had"), Status::Ours);
    assert_eq!(drain.count(), 1);
    assert_eq!(dir.names(), [""; 0]);

    let (listener, ownership) = ServerSocket::create(&path).expect("create").into_parts().expect("parts");
    drop(listener);
    assert_eq!(ownership.status(), Status::Ours);
    assert_eq!(ownership.close().expect("close"), Status::Ours);
    assert_eq!(dir.names(), [""; 0]);

    let (listener, ownership) = ServerSocket::create(&path).expect("create").into_parts().expect("parts");
    drop(ownership);
    assert_eq!(dir.names(), [""; 0]);
    assert_eq!(rustix::net::shutdown(&listener, rustix::net::Shutdown::Read), Ok(()), "it still listens");
}

#[test]
fn a_directory_that_cannot_be_looked_into_is_no_theft() {
    ordinary_user(&this_test!(), || {
        let dir = Dir::new();
        let closed = dir.join("closed");
        fs::create_dir(&closed).expect("mkdir");
        let server = ServerSocket::create(closed.join("s")).expect("create");
        chmod(&closed, 0o000);
        assert_eq!((server.status(), server.was_stolen()), (Status::Unknown { errno: EACCES }, false));
        chmod(&closed, 0o700);
        assert_eq!(server.status(), Status::Ours);
        chmod(&closed, 0o500);
        assert_eq!((server.status(), server.was_stolen()), (Status::Ours, false));
        let error = server.close().expect_err("not writable");
        assert_error(&error, ErrorKind::System, EACCES);
        assert!(exists(&closed.join("s")));
        chmod(&closed, 0o700);
        ServerSocket::create(closed.join("s")).expect("the next start replaces it").close().expect("close");
    });
}

#[test]
fn into_parts_that_fails_hands_the_server_back() {
    whole_process(&this_test!(), || {
        let dir = Dir::new();
        let path = dir.join("s");
        let server = ServerSocket::create(&path).expect("create");
        let open = descriptors();
        let failed = with_descriptors(0, || server.into_parts()).expect_err("no descriptors");
        assert_error(&failed.error, ErrorKind::System, EMFILE);
        assert_eq!(descriptors(), open);
        assert_serves(&*failed.server, &path);
        let (listener, ownership) = failed.server.into_parts().expect("parts");
        assert_serves(&listener, &path);
        ownership.close().expect("close");

        let server = ServerSocket::create(&path).expect("create");
        let thief = steal(&path);
        let failed = server.into_parts().expect_err("stolen");
        assert_error(&failed.error, ErrorKind::Moved, ESTALE);
        assert_eq!(failed.server.close().expect("close"), Status::Replaced);
        assert_serves(&thief, &path);
        assert_eq!(dir.names(), ["s"]);
    });
}

#[test]
fn an_odd_path_is_refused_before_it_has_an_identity() {
    assert!(child::role().is_none());
    assert_error(&ServerSocket::create("").expect_err("no path"), ErrorKind::Invalid, EINVAL);
}
