//! A replaceable server in the process that looks on. It may be replaced or not, but its clients are served.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use unix_stream_server::{Builder, ServerSocket, Status, connect};

use crate::support::dir::{exists, mode};
use crate::support::succession::hear;

pub(crate) struct Predecessor {
    server: ServerSocket,
    /// Whose connect() succeeded while it had the path, and who will be asked in the end.
    clients: RefCell<Vec<UnixStream>>,
}

impl Predecessor {
    pub(crate) fn new(builder: &Builder, path: &Path) -> Predecessor {
        let server = builder.create(path).expect("create");
        Predecessor { server, clients: RefCell::new(vec![connect(path).expect("connect")]) }
    }

    pub(crate) fn is_replaced(&self) -> bool {
        self.server.was_stolen()
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
        for client in self.server.until_replaced().grace(Duration::ZERO) {
            client.and_then(|mut client| client.write_all(b"served")).expect("a client that waits");
        }
        for client in self.clients.into_inner() {
            assert_eq!(hear(client), "served", "{when}");
        }
    }
}
