//! Parties of the same kind are the same whichever is which: a state is looked up in one order of them.

use super::automaton::Role;
use super::explorer::State;
use super::inode::Origin;
use super::kernel::{Kernel, PROCESSES, Pid, SOCKETS, maker};
use super::process::Object;

impl State {
    /// The same state, with parties of the same role in the order of where they stand.
    pub(super) fn sorted(&self, roles: &[Role]) -> State {
        let mut order: [Pid; PROCESSES] = std::array::from_fn(|party| party as Pid);
        let rank = |party: Pid| {
            let process = &self.kernel.processes[usize::from(party)];
            let alive = (process.crashed, process.stopped, process.asleep, process.sure, process.blocked.is_some());
            (self.at[usize::from(party)], alive, process.notes, process.client as u8)
        };
        let mut sorted = true;
        for _ in 1..roles.len() {
            for left in 0..roles.len() - 1 {
                // Neighbours only: parties of the same role stand side by side.
                if roles[left] == roles[left + 1] && rank(order[left]) > rank(order[left + 1]) {
                    order.swap(left, left + 1);
                    sorted = false;
                }
            }
        }
        if sorted {
            return *self;
        }
        let mut place = [0; PROCESSES];
        for (new, &old) in (0..).zip(&order) {
            place[usize::from(old)] = new;
        }
        let mut state = *self;
        state.kernel = self.kernel.renumbered(&place);
        state.at = order.map(|old| self.at[usize::from(old)]);
        state
    }
}

impl Kernel {
    /// The same kernel, with the process `n` as number `place[n]`.
    fn renumbered(&self, place: &[Pid; PROCESSES]) -> Kernel {
        let to = |party: Pid| place[usize::from(party)];
        let to_socket = |socket: Pid| to(maker(socket)) + (socket - maker(socket));
        let mut kernel = *self;
        for inode in kernel.inodes_mut() {
            inode.flock = inode.flock.map(|(holder, fd)| (to(holder), fd));
            if let Origin::Git(party) = inode.origin {
                inode.origin = Origin::Git(to(party));
            }
        }
        for (old, process) in self.processes.iter().enumerate() {
            let mut process = *process;
            for object in process.fds.iter_mut().flatten() {
                if let Object::Socket(socket) = object {
                    *socket = to_socket(*socket);
                }
            }
            process.blocked = process.blocked.map(to_socket);
            process.found = process.found.map(to_socket);
            kernel.processes[usize::from(place[old])] = process;
        }
        for (old, socket) in (0..SOCKETS as Pid).zip(&self.sockets) {
            kernel.sockets[usize::from(to_socket(old))] = socket.map(|socket| socket.renumbered(place));
        }
        kernel
    }
}
