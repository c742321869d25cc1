//! A replaceable server in the process that looks on. It may be replaced or not, but its clients are served.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use unix_stream_server::{Builder, ServerSocket, Status, connect};

use crate::support::dir::{exists, mode};
use crate::support::sockets::hung_up;
use crate::support::succession::hear;

pub(crate) struct Predecessor {
    server: ServerSocket,
    /// Whose connect() succeeded while it had the path, and who will be asked in the end.
    clients: RefCell<Vec<UnixStream>>,
    /// Who has been accepted already, among them whoever knocked, and is still to be served.
    accepted: RefCell<Option<Vec<UnixStream>>>,
}

impl Predecessor {
    pub(crate) fn new(builder: &Builder, path: &Path) -> Predecessor {
        let server = builder.create(path).expect("create");
        let clients = RefCell::new(vec![connect(path).expect("connect")]);
        Predecessor { server, clients, accepted: RefCell::default() }
    }

    pub(crate) fn is_replaced(&self) -> bool {
        self.server.was_stolen()
    }

    /// How many have come and left again, of those who are queued now.
    pub(crate) fn left_by_now(&self) -> usize {
        self.server.set_nonblocking(true).expect("fcntl");
        let queued = std::iter::from_fn(|| self.server.accept().ok().map(|(client, _)| client));
        let (left, waiting): (Vec<_>, Vec<_>) = queued.partition(hung_up);
        self.server.set_nonblocking(false).expect("fcntl");
        self.accepted.borrow_mut().get_or_insert_default().extend(waiting);
        left.len()
    }

    /// It has its path, its mark, and lets clients in; or somebody else has the path.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self, path: &Path, when: &dyn Display) {
        match self.server.status() {
            Status::Ours => {
                assert_eq!(mode(path) & 0o1000, 0o1000, "{when}: it has lost its mark");
                self.clients.borrow_mut().push(connect(path).unwrap_or_else(|error| panic!("{when}: {error}")));
            }
            Status::Replaced => {}
            // A successor that has come and gone takes the path along.
            Status::Gone => assert!(!exists(path), "{when}"),
            status => panic!("{when}: {status}"),
        }
    }

    /// It ends by itself, since it has been replaced, and every client of its own has been served.
    #[track_caller]
    pub(crate) fn end(self, when: &dyn Display) {
        assert!(self.is_replaced(), "{when}: it has not been replaced");
        let serve = |mut client: UnixStream| client.write_all(b"served").expect("a client that waits");
        match self.accepted.into_inner() {
            Some(accepted) => {
                let queued = self.server.drain().unwrap_or_else(|error| panic!("{when}: {error}"));
                accepted.into_iter().chain(queued.map(|client| client.expect("accept"))).for_each(serve);
            }
            None => {
                let clients = self.server.until_replaced().grace(Duration::ZERO);
                clients.map(|client| client.expect("accept")).for_each(serve);
            }
        }
        for client in self.clients.into_inner() {
            assert_eq!(hear(client), "served", "{when}");
        }
    }
}
