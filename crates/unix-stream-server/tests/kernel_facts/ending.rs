//! The end of a listener, and its queue.

use rustix::event::PollFlags;
use rustix::fs;
use rustix::io::Errno;
use rustix::net::{self, Shutdown};

use crate::support::*;

#[test]
fn close_of_a_listener_resets_the_clients_in_its_queue() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let client = client(scratch.path("s"));
    drop(server);
    assert_eq!(rustix::io::read(&client, &mut [0; 1]), Err(Errno::CONNRESET));
}

#[test]
fn so_error_after_the_end_of_a_listener_tells_who_was_queued_from_who_was_accepted() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let (accepted, queued) = (client(scratch.path("s")), client(scratch.path("s")));
    drop(net::accept(&server).unwrap());
    drop(server);
    assert_eq!(rustix::net::sockopt::socket_error(&accepted).unwrap(), Ok(()));
    assert_eq!(rustix::net::sockopt::socket_error(&queued).unwrap(), Err(Errno::CONNRESET));
}

#[test]
fn after_shut_rd_accept_hands_out_all_who_are_queued_and_then_fails() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    let clients: Vec<_> = (0..3).map(|_| client(scratch.path("s"))).collect();
    for (client, byte) in clients.iter().zip(0..) {
        rustix::io::write(client, &[byte]).unwrap();
    }
    // Duplicates, such as a child's, make no difference.
    let duplicate = server.try_clone().unwrap();
    net::shutdown(&server, Shutdown::Read).unwrap();
    assert_eq!(probe(scratch.path("s")), Err(Errno::CONNREFUSED));
    for byte in 0..3 {
        let mut got = [9];
        assert_eq!(rustix::io::read(net::accept(&server).unwrap(), &mut got), Ok(1));
        assert_eq!(got, [byte]);
    }
    let server = in_time(move || {
        assert_eq!(net::accept(&server).map(drop), Err(Errno::INVAL));
        server
    });
    rustix::io::ioctl_fionbio(&server, true).unwrap();
    assert_eq!(net::accept(&duplicate).map(drop), Err(Errno::AGAIN));
}

#[test]
fn after_shut_rd_a_listen_of_0_and_one_of_more_wake_all_who_wait_in_connect() {
    let scratch = Scratch::shared();
    let (server, clients) = busy(scratch.path("s"));
    // A duplicate keeps the socket alive, so nothing but these two calls can be relied on to wake them.
    let _duplicate = server.try_clone().unwrap();
    let waiters: Vec<_> = (0..4).map(|_| waiting_client(&scratch.path("s"))).collect();
    net::shutdown(&server, Shutdown::Read).unwrap();
    net::listen(&server, 0).unwrap();
    net::listen(&server, i32::MAX).unwrap();
    for waiter in waiters {
        assert_eq!(waiter.result().map(drop), Err(Errno::CONNREFUSED));
    }
    // And those already in the queue are still there.
    assert_eq!(accept_all(&server).len(), clients.len());
}

#[test]
fn a_client_woken_from_connect_after_a_rename_over_lands_in_the_new_server() {
    let scratch = Scratch::shared();
    let (old, clients) = busy(scratch.path("s"));
    let waiter = waiting_client(&scratch.path("s"));
    let new = listening(scratch.path("temporary"));
    fs::rename(scratch.path("temporary"), scratch.path("s")).unwrap();
    net::shutdown(&old, Shutdown::Read).unwrap();
    net::listen(&old, 0).unwrap();
    net::listen(&old, i32::MAX).unwrap();
    let _client = waiter.result().unwrap();
    assert_eq!((accept_all(&old).len(), accept_all(&new).len()), (clients.len(), 1));
}

#[test]
fn a_client_that_left_polls_hung_up_and_a_half_closed_one_does_not() {
    let scratch = Scratch::shared();
    let server = listening(scratch.path("s"));
    drop(client(scratch.path("s")));
    assert!(polled(&net::accept(&server).unwrap()).contains(PollFlags::HUP));

    let half_closed = client(scratch.path("s"));
    net::shutdown(&half_closed, Shutdown::Write).unwrap();
    let events = polled(&net::accept(&server).unwrap());
    assert!(events.contains(PollFlags::IN) && !events.contains(PollFlags::HUP), "{events:?}");
}
